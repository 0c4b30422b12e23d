"""`read_header`: what a picture claims to be, from its first bytes, before a decoder sees it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, NoReturn

from infeed.errors import DecodeError, DecodeReason
from infeed.sample.avif import read_avif
from infeed.sample.gif import read_gif
from infeed.sample.orientation import UPRIGHT, read_orientation
from infeed.sample.png import PNG_MAGIC, read_png
from infeed.sample.tiff import TIFF_MAGICS, read_tiff

Format = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif", "avif"]

# Real files have tens of segments or chunks, some thousands; what has more is made to keep us busy.
_MOST_PARTS: Final = 65_536

_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

_BMP_RUN_LENGTHS: Final = frozenset({1, 2, 4, 5})  # and JPEG or PNG inside: size not known
_LARGEST_RUN_LENGTHS: Final = 1 << 24

_KNOWN_BUT_UNREAD: Final = (
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "Windows icon"),
    (0, b"v/1\1", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"%PDF", "PDF"),
)


class Header(NamedTuple):
    """What a picture claims to be.

    Attributes:
        format: which decoder it is for.
        width: as stored, before it is turned upright.
        height: as stored.
        orientation: 1..8, as in Exif; how the stored pixels are to be turned.
        progressive: a JPEG whose pixels come in ever finer scans.
        one_scan: a JPEG whose first scan is all that a decoder reads.
    """

    format: Format
    width: int
    height: int
    orientation: int = UPRIGHT
    progressive: bool = False
    one_scan: bool = False


def read_header(data: bytes) -> Header:
    """Format, size and orientation of the picture in `data`.

    Reads the structure around the pixels, never the pixels; takes some microseconds, and a
    bounded time for any bytes.

    Raises:
        DecodeError: `empty`, `not_an_image`, `unsupported`, `truncated` or `corrupt`.

    >>> read_header(b"GIF89a" + bytes([3, 0, 2, 0, 0, 0, 0]) + b"," + bytes(9))[:3]
    ('gif', 3, 2)
    """
    if data[:3] == b"\xff\xd8\xff":
        header = _read_jpeg(data)
    elif data[:8] == PNG_MAGIC:
        header = Header("png", *read_png(data))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        header = _read_webp(data)
    elif data[:2] == b"BM":
        header = _read_bmp(data)
    elif data[:4] in TIFF_MAGICS:
        header = Header("tiff", *read_tiff(data))
    elif data[:6] in (b"GIF87a", b"GIF89a"):
        header = Header("gif", *read_gif(data))
    elif data[4:8] == b"ftyp":
        header = Header("avif", *read_avif(data))
    else:
        _refuse_unknown(data)
    if header.width < 1 or header.height < 1:
        raise DecodeError(
            f"the {header.format.upper()} header says {header.width} x {header.height} pixels",
            reason="corrupt",
        )
    return header


def _refuse_unknown(data: bytes) -> NoReturn:
    if not data:
        raise DecodeError("the file is empty", reason="empty")
    for at, magic, name in _KNOWN_BUT_UNREAD:
        if data.startswith(magic, at):
            raise DecodeError(
                f"a {name} file; JPEG, PNG, WebP, BMP, TIFF, GIF and AVIF are read. "
                f"Convert it to one of them.",
                reason="unsupported",
            )
    hint = ""
    start = data[:64].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        hint = " It is a Git LFS pointer: run `git lfs pull`."
    elif start.startswith((b"<!doctype html", b"<html")):
        hint = " It is a web page, probably an error page saved by a download."
    elif start.startswith(b"<svg"):
        hint = " It is a vector drawing."
    raise DecodeError(
        f"no image format begins with {data[:16]!r}; "
        f"JPEG, PNG, WebP, BMP, TIFF, GIF and AVIF are read.{hint}",
        reason="not_an_image",
    )


def _read_jpeg(data: bytes) -> Header:
    orientation = 0
    size: tuple[int, int, int, int] | None = None  # width, height, colours, kind
    reason: DecodeReason
    end = len(data)
    at = 2
    for _ in range(_MOST_PARTS):
        # As libjpeg does: whatever stands before a marker is passed over.
        at = data.find(b"\xff", at)
        if at < 0 or at + 9 > end:
            why, reason = f"ends after {end} bytes, before its size", "truncated"
            break
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0 or marker == 1 or 0xD0 <= marker <= 0xD8:  # these carry no length
            at += 2
            continue
        if marker == 0xD9 or marker == 0xDA:
            why, reason = "has no size before its pixels", "corrupt"
            if size is None or marker == 0xD9:
                break
            # What comes behind a first scan of all colours is never read.
            one_scan = data[at + 4] == size[2] and size[3] not in _PROGRESSIVE
            return _jpeg_header(size, orientation, one_scan=one_scan)
        length = data[at + 2] << 8 | data[at + 3]
        if size is None:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                size = (
                    data[at + 7] << 8 | data[at + 8],
                    data[at + 5] << 8 | data[at + 6],
                    data[at + 9] if at + 9 < end else 0,
                    marker,
                )
            elif marker == 0xE1 and not orientation and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = read_orientation(data, at + 10, min(at + 2 + length, end))
        at += 2 + max(length, 2)
    else:
        why, reason = f"has more than {_MOST_PARTS} parts before its size", "corrupt"
    if size is None:
        raise DecodeError(f"the JPEG {why}", reason=reason)
    return _jpeg_header(size, orientation, one_scan=False)


def _jpeg_header(size: tuple[int, int, int, int], orientation: int, *, one_scan: bool) -> Header:
    width, height, _, kind = size
    return Header("jpeg", width, height, orientation or UPRIGHT, kind in _PROGRESSIVE, one_scan)


def _read_webp(data: bytes) -> Header:
    size = 8 + int.from_bytes(data[4:8], "little")
    kind = data[12:16]
    if len(data) < max(size, 30):
        raise DecodeError(
            f"the WebP should have {size} bytes and has {len(data)}", reason="truncated"
        )
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise DecodeError("the WebP holds no VP8 key frame", reason="corrupt")
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
        return Header("webp", width, height)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        if data[20] != 0x2F:
            raise DecodeError("the WebP holds no VP8L frame", reason="corrupt")
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise DecodeError(f"the WebP begins with an unknown chunk {kind!r}", reason="corrupt")
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    orientation = UPRIGHT
    if data[20] & 0x08:  # says that an EXIF chunk is there
        at = 12
        for _ in range(_MOST_PARTS):
            if at + 8 > size:
                break
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"EXIF":
                start = at + 8
                if data[start : start + 6] == b"Exif\0\0":  # some writers take it from a JPEG
                    start += 6
                orientation = read_orientation(data, start, min(at + 8 + length, size))
                break
            at += 8 + length + (length & 1)
        else:
            raise DecodeError(f"the WebP has more than {_MOST_PARTS} chunks", reason="corrupt")
    return Header("webp", width, height, orientation)


def _read_bmp(data: bytes) -> Header:
    if len(data) < 34:
        raise DecodeError(f"the BMP ends after {len(data)} bytes", reason="truncated")
    if int.from_bytes(data[14:18], "little") == 12:
        width = int.from_bytes(data[18:20], "little")
        height = int.from_bytes(data[20:22], "little")
        bits = int.from_bytes(data[24:26], "little")
        packed = False
    else:
        width = int.from_bytes(data[18:22], "little", signed=True)
        height = abs(int.from_bytes(data[22:26], "little", signed=True))
        bits = int.from_bytes(data[28:30], "little")
        packed = int.from_bytes(data[30:34], "little") in _BMP_RUN_LENGTHS
        if packed and len(data) > _LARGEST_RUN_LENGTHS:
            # Pillow's reader is written in Python: 0.1 us a byte, and nobody else reads it.
            raise DecodeError(
                f"a BMP of {len(data):,} bytes with run lengths. Convert it to PNG.",
                reason="unsupported",
            )
    size = int.from_bytes(data[10:14], "little") + (width * bits + 31) // 32 * 4 * height
    if not packed and len(data) < size:
        raise DecodeError(
            f"the BMP should have {size} bytes and has {len(data)}", reason="truncated"
        )
    return Header("bmp", width, height)
