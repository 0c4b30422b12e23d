"""JPEG: decoded by libjpeg-turbo, and refused where picture data is missing.

libjpeg repairs silently: a file cut in half comes back as a picture whose lower half is grey.
So decoding is strict, and what it complains about decides:

    "Premature end of JPEG file"          no end marker         refused, truncated
    "premature end of data segment"       pixels are missing    refused, truncated
    "N extraneous bytes before marker"    nothing is missing    recovered without those bytes
    "Could not determine subsampling"     a form like 4:1:0     decoded by Pillow, if whole
    "Unsupported ..."                     12 bits, ...          refused, unsupported
    anything else                         contradicts itself    refused, corrupt

The complaint is the first of possibly many, so a recovery is believed only when what is left
decodes without any. Bytes after the end marker are no complaint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from infeed.errors import DecodeError
from infeed.sample.header import Header
from infeed.sample.pillow import load_by_pillow
from infeed.sample.raster import from_pillow
from infeed.sample.recipe import MAX_PIXELS, ColorMode
from infeed.sample.scratch import Scratch

_COLORSPACES: Final = {"rgb": "RGB", "bgr": "BGR", "grayscale": "GRAY", "rgba": "RGBA"}
_CHANNELS: Final = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}

_EXTRANEOUS: Final = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_MOST_REPAIRS: Final = 12

# Within the pixels an FF byte is followed by 00 or by a restart (D0..D7); all else is a marker.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_WITHOUT_LENGTH: Final = frozenset({0x01, 0xD8, _END_OF_IMAGE})
# APP1 to APP13, APP15, comments. APP0 and APP14 say what the colours mean.
_NOTES: Final = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
_MOST_PARTS: Final = 4096

# Each scan goes over all pixels, and can be 10 bytes long. Cameras and encoders write about 10.
_MOST_SCANS: Final = 500
# Pixels gone over, in scans and in attempts to repair: what takes two seconds or three.
_MOST_SCANNED: Final = 32 * MAX_PIXELS
_MOST_REPAIRED: Final = 4 * MAX_PIXELS


def decode_jpeg(
    data: bytes,
    header: Header,
    color_mode: ColorMode,
    factor: int,
    scratch: Scratch,
    *,
    smooth: bool = True,
) -> tuple[npt.NDArray[np.uint8], str | None]:
    """The picture as stored (not turned upright), and how it was recovered, if it had to be.

    Args:
        data: a JPEG file.
        header: what `read_header` said of it.
        color_mode: the channels of the result.
        factor: 1, 2, 4 or 8; sides are divided by it and rounded up.
        scratch: the result lies in it, until its next use.
        smooth: whether colours that are stored at half the size are interpolated. If not, each
            is repeated, which takes a tenth less time, and is as good where the picture shrinks.

    Returns:
        uint8 (height, width, channels), and None or "recovered: <why>".

    Raises:
        DecodeError: `truncated`, `corrupt` or `unsupported`.
    """
    # Counting takes longer than all the rest that is done for a usual file.
    scans = 1 if header.one_scan else data.count(b"\xff\xda")
    pixels = header.height * header.width
    if scans > 32 and (scans > _MOST_SCANS or scans * pixels > _MOST_SCANNED):
        raise DecodeError(
            f"the JPEG goes {scans} times over {pixels:,} pixels", reason="unsupported"
        )
    height, width = -(-header.height // factor), -(-header.width // factor)
    buffer = scratch.decoded(height * width * _CHANNELS[color_mode])
    try:
        return _decode_strictly(data, color_mode, height, width, buffer, smooth=smooth), None
    except ValueError as error:
        complaint = str(error)
    if "determine subsampling" in complaint:
        return _decode_odd_sampling(data, header, color_mode), None
    if _EXTRANEOUS.search(complaint):
        repairs = max(min(_MOST_REPAIRS, _MOST_REPAIRED // (pixels * max(scans // 8, 1))), 1)
        image = _decode_without_extraneous(
            data, color_mode, height, width, buffer, repairs, smooth=smooth
        )
        return image, "recovered: JPEG with extraneous bytes before a marker"
    raise _refusal(complaint)


def _decode_strictly(
    data: bytes,
    color_mode: ColorMode,
    height: int,
    width: int,
    buffer: npt.NDArray[np.uint8],
    *,
    smooth: bool,
) -> npt.NDArray[np.uint8]:
    # The smallest sides are given so that simplejpeg's choice is exactly our factor: between 1/2
    # and 1 it would else take one like 5/8, which libjpeg does slower than no reduction at all.
    image: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data,
        _COLORSPACES[color_mode],
        min_height=height,
        min_width=width,
        fastupsample=not smooth,
        buffer=buffer,
    )
    return image


def _decode_without_extraneous(
    data: bytes,
    color_mode: ColorMode,
    height: int,
    width: int,
    buffer: npt.NDArray[np.uint8],
    repairs: int,
    *,
    smooth: bool,
) -> npt.NDArray[np.uint8]:
    """The picture that is left when the bytes between two parts of the file are taken out.

    Between two tables they are what stands where a marker should. After pixels only the decoder
    knows how many are too many, and says so, but not in which scan: each is tried.
    """
    complaint = ""
    candidates = iter([_without_gaps(data)])
    for _ in range(repairs):
        candidate = next(candidates, None)
        if candidate is None:
            break
        try:
            return _decode_strictly(candidate, color_mode, height, width, buffer, smooth=smooth)
        except ValueError as error:
            said = str(error)
        found = _EXTRANEOUS.search(said)
        if found and said != complaint:
            # Right so far; what is left over now stands further on.
            complaint = said
            candidates = _shortened(candidate, int(found[1]), int(found[2], 16))
        elif not complaint:
            complaint = said
    raise _refusal(complaint)


def _shortened(data: bytes, count: int, code: int) -> Iterator[bytes]:
    """The file without the `count` bytes before a marker of that code, once for each of them."""
    if 0xD0 <= code <= 0xD7:
        return  # left over before a restart: that strip of the picture was misread
    for part in _parts(data):
        if part.code == code and part.gap > count:
            yield data[: part.start - count] + data[part.start :]


def _without_gaps(data: bytes) -> bytes:
    """The file without what stands between its parts, pixels excepted."""
    kept = [data[:2]]
    last = -1
    for code, gap, start, end in _parts(data):
        kept.append(data[start - (gap if last == _START_OF_SCAN else 0) : end])
        last = code
    # What follows the last part found: pixels that do not end, or nothing.
    return b"".join(kept) + (data[end:] if last not in (-1, _END_OF_IMAGE) else b"")


class _Part(NamedTuple):
    """A marker and its content, `data[start:end]`, after `gap` bytes that belong to none."""

    code: int
    gap: int
    start: int
    end: int


def _parts(data: bytes) -> Iterator[_Part]:
    """The parts of a JPEG after its first marker, up to and with the end marker."""
    at = 2
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        code = found[1][0]
        end = found.end()
        if code not in _WITHOUT_LENGTH:
            end += max(int.from_bytes(data[end : end + 2], "big"), 2)
        yield _Part(code, found.start() - at, found.start(), end)
        if code == _END_OF_IMAGE:
            return
        at = end


def _decode_odd_sampling(
    data: bytes, header: Header, color_mode: ColorMode
) -> npt.NDArray[np.uint8]:
    """A JPEG whose chroma is sampled as TurboJPEG has no name for, 4:1:0 and the like.

    Pillow decodes it without a word where pixels are missing. What shows that none are: bytes
    put before the end marker change nothing, for the decoder has all it needs by then.
    """
    end = next((part.start for part in _parts(data) if part.code == _END_OF_IMAGE), None)
    if end is None:
        raise _refusal("Premature end of JPEG file")
    data = _without_notes(data)
    longer = data[:-2] + b"\xa5\x5a" * 64 + data[-2:]
    max_pixels = header.height * header.width
    luma = color_mode == "grayscale"
    plain, padded = (load_by_pillow(file, "jpeg", max_pixels, luma=luma) for file in (data, longer))
    if plain.tobytes() != padded.tobytes():
        raise _refusal("premature end of data segment")
    return from_pillow(plain, "jpeg", color_mode)


def _without_notes(data: bytes) -> bytes:
    """The file up to its end marker, without Exif, profiles and comments.

    Pillow reads them, and warns of them where they are odd.
    """
    kept = [data[:2]]
    at = 2
    for part in _parts(data):
        kept.append(data[at : part.start] if part.code in _NOTES else data[at : part.end])
        at = part.end
    return b"".join(kept)


def _refusal(complaint: str) -> DecodeError:
    text = f"the JPEG cannot be decoded whole: {complaint}"
    if "remature end" in complaint:
        return DecodeError(text, reason="truncated")
    if "nsupported" in complaint and "marker" not in complaint:
        return DecodeError(text, reason="unsupported")
    return DecodeError(text, reason="corrupt")
