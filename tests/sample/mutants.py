"""Damaged picture files, the same ones for the same seed: what a hostile or worn-out set holds.

    bytes       one to sixteen changed bytes, often near the beginning
    cut         the file ends at a marker, chunk, box or entry, or up to four bytes after it
    length      a length, size or count field says 0, 1, its largest, or a bit more or less
    splice      the beginning of one file and the end of another, joined between two parts
    pixels      changed bytes within the packed pixels of a PNG, with all checksums right

The checksums of a PNG are put right again in half of the cases: else nothing beyond them is met.
"""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

# Pillow's wheels of old come without Zstandard, and are killed by the attempt to write it.
HAS_ZSTD = int(PIL.__version__.split(".")[0]) >= 13
HOW = ("bytes", "cut", "length", "splice", "pixels")


class Joint(NamedTuple):
    """Where a part of a file begins, and the field that says how long or how many it is."""

    at: int
    field: int
    size: int
    order: str


@functools.cache  # an animated AVIF says in which second it was made
def originals() -> dict[str, bytes]:
    """Whole files, a few KB each, in the forms that take different ways through the decoders."""
    pixels = _photo(72, 104)
    rgb = Image.fromarray(pixels)
    grey, cmyk = rgb.convert("L"), rgb.convert("CMYK")
    rgba = rgb.copy()
    rgba.putalpha(grey)
    palette = rgb.quantize(32)
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # the second keeps the block in an AVIF
    made: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, format_: str, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, format_, **options)
        made[name] = file.getvalue()

    add("jpeg", rgb, "JPEG", exif=exif)
    add("jpeg 4:4:4", rgb, "JPEG", subsampling=0, restart_marker_blocks=3)
    add("jpeg grey", grey, "JPEG")
    add("jpeg cmyk", cmyk, "JPEG")
    add("jpeg progressive", rgb, "JPEG", progressive=True)
    made["jpeg 4:1:0"] = encode_410(np.random.default_rng(0).integers(40, 216, (16, 32)))
    add("png", rgb, "PNG", exif=exif)
    add("png grey", grey, "PNG")
    add("png 1", rgb.convert("1"), "PNG")
    add("png palette", palette, "PNG", transparency=bytes(range(32)))
    add("png rgba", rgba, "PNG")
    add("png 16", deep, "PNG")
    add("png animated", rgb, "PNG", **frames)
    made["png interlaced"] = interlaced_png(pixels)
    add("webp", rgb, "WEBP", exif=exif)
    add("webp lossless", rgba, "WEBP", lossless=True)
    add("webp alpha", rgba, "WEBP")
    add("webp animated", rgb, "WEBP", **frames)
    add("gif", palette, "GIF")
    add("gif animated", palette, "GIF", **frames)
    add("gif interlaced", palette, "GIF", interlace=1)
    add("bmp", rgb, "BMP")
    add("bmp palette", palette, "BMP")
    add("bmp 1", rgb.convert("1"), "BMP")
    add("bmp rgba", rgba, "BMP")
    made["bmp run lengths"] = run_length_bmp(72, 104)
    add("tiff", rgb, "TIFF", exif=exif)
    zstd = ("zstd",) if HAS_ZSTD else ()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", *zstd, "lzma"):
        add(f"tiff {compression}", rgb, "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        add(f"tiff {compression}", rgb.convert("1"), "TIFF", compression=compression)
    add("tiff 16", deep, "TIFF")
    add("tiff 16 lzw", deep, "TIFF", compression="tiff_lzw")
    add("tiff palette", palette, "TIFF", compression="tiff_lzw")
    add("tiff rgba", rgba, "TIFF", compression="tiff_adobe_deflate")
    add("tiff cmyk", cmyk, "TIFF", compression="tiff_lzw")
    add("tiff pages", rgb, "TIFF", compression="tiff_lzw", **frames)
    add("tiff big", rgb, "TIFF", big_tiff=True)
    add("avif", rgb, "AVIF", speed=10, exif=exif)
    add("avif alpha", rgba, "AVIF", speed=10)
    add("avif animated", rgb, "AVIF", speed=10, **frames)
    return made


def mutants(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(what it was and what was done, file), `count` times, each depending on `seed` alone."""
    files = originals()
    names = list(files)
    cuts = {name: list(_cuts(data)) for name, data in files.items()}
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        name = names[number % len(names)]
        data = files[name]
        turn = number // len(names)
        how = HOW[turn % len(HOW)]
        if how == "pixels" and not name.startswith("png"):
            how = "bytes"
        if how == "cut":
            # One after the other, so that every joint is met before any comes again.
            data = data[: cuts[name][turn // len(HOW) % len(cuts[name])]]
        else:
            data = _CHANGES[how](data, chance, files, name)
        if name.startswith("png") and (how == "pixels" or chance.random() < 0.5):
            data = with_checksums(data)
        yield f"{number:05} {name}: {how}", data


def joints(data: bytes) -> list[Joint]:
    """Where the parts of a file begin, whatever its format; a broken file has fewer."""
    if data[:2] == b"\xff\xd8":
        return list(_jpeg_joints(data))
    if data[:4] == b"\x89PNG":
        return list(_chunk_joints(data, 8, ">", length_first=True))
    if data[:4] == b"RIFF":
        return [Joint(0, 4, 4, "<"), *_chunk_joints(data, 12, "<", length_first=False)]
    if data[:2] in (b"II", b"MM"):
        return list(_tiff_joints(data))
    if data[:3] == b"GIF":
        return list(_gif_joints(data))
    if data[:2] == b"BM":
        return [Joint(at, at, 2 if at in (26, 28) else 4, "<") for at in range(2, 54, 4)]
    return list(_box_joints(data, 0, len(data)))


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have right checksums, as far as it has chunks."""
    out = bytearray(data)
    for joint in joints(data):
        end = joint.at + 12 + int.from_bytes(data[joint.at : joint.at + 4], "big")
        if end <= len(data):
            out[end - 4 : end] = struct.pack(">I", zlib.crc32(data[joint.at + 4 : end - 4]))
    return bytes(out)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def interlaced_png(pixels: np.ndarray) -> bytes:
    """An Adam7 PNG, which Pillow does not write. pixels: uint8 (height, width, 3)."""
    height, width = pixels.shape[:2]
    rows = b""
    for top, left, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):  # fmt: skip
        part = pixels[top::down, left::across]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def run_length_bmp(height: int, width: int) -> bytes:
    """A BMP of 256 greys with run lengths, which Pillow does not write."""
    row = b"".join(bytes((min(4, width - x), x * 255 // width)) for x in range(0, width, 4))
    pixels = (row + b"\0\0") * height + b"\0\1"
    colours = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
    start = 54 + len(colours)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(pixels), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 256)
        + colours
        + pixels
    )


def encode_410(luma: np.ndarray) -> bytes:
    """A JPEG of blocks of one grey each, with one chroma sample for 4 x 2 of luma.

    luma: (block rows, block columns), multiples of 2 and 4.
    """
    rows, columns = luma.shape
    bits: list[str] = []

    def block(difference: int) -> None:
        size = abs(difference).bit_length()
        value = difference if difference >= 0 else difference + (1 << size) - 1
        bits.append(f"{size:04b}")  # the table below gives each size the code of its number
        bits.append(f"{value:0{size}b}" if size else "")
        bits.append("0")  # end of block

    last = 128
    for top in range(0, rows, 2):
        for left in range(0, columns, 4):
            for grey in luma[top : top + 2, left : left + 4].ravel().tolist():
                block(grey - last)
                last = grey
            block(0)
            block(0)
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    stream = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(code: int, content: bytes) -> bytes:
        return bytes((0xFF, code)) + (len(content) + 2).to_bytes(2, "big") + content

    size_bytes = (rows * 8).to_bytes(2, "big") + (columns * 8).to_bytes(2, "big")
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + bytes([8] * 64))
        + segment(0xC0, b"\x08" + size_bytes + bytes([3, 1, 0x42, 0, 2, 0x11, 0, 3, 0x11, 0]))
        + segment(0xC4, b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
        + segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
        + segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
        + stream
        + b"\xff\xd9"
    )


def _photo(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(3).integers(0, 40, (height, width))
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 13)]
    return np.stack([(wave * 100 + 105 + noise) for wave in waves], -1).clip(0, 255).astype("u1")


def _cuts(data: bytes) -> Iterator[int]:
    for joint in joints(data):
        for more in (0, 1, 2, 4):
            yield min(joint.at + more, len(data))
    for share in (0.5, 0.9, 0.99):
        yield int(len(data) * share)
    yield len(data) - 1


def _change_bytes(data: bytes, chance: random.Random, files: object, name: object) -> bytes:
    out = bytearray(data)
    near = min(chance.choice((48, 700, len(out))), len(out))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        out[chance.randrange(near)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(out)


def _change_length(data: bytes, chance: random.Random, files: object, name: object) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2))):
        _, field, size, order = chance.choice(joints(data))
        endian = "big" if order == ">" else "little"
        largest = (1 << 8 * size) - 1
        now = int.from_bytes(data[field : field + size], endian)
        value = chance.choice(
            (
                0,
                1,
                largest,
                largest >> 1,
                now + 1,
                now - 1,
                now * 2,
                now + 256,
                chance.randrange(largest),
            )
        )
        out[field : field + size] = (value & largest).to_bytes(size, endian)
    return bytes(out)


def _splice(data: bytes, chance: random.Random, files: dict[str, bytes], name: str) -> bytes:
    kin = [other for other in files if other.split()[0] == name.split()[0]]
    other = files[chance.choice(kin if chance.random() < 0.8 else list(files))]
    head, tail = chance.choice(joints(data)).at, chance.choice(joints(other)).at
    return data[:head] + other[tail:]


def _change_pixels(data: bytes, chance: random.Random, files: object, name: object) -> bytes:
    out, at = b"", 8
    packed = b"".join(
        data[j.at + 8 : _chunk_end(data, j)] for j in joints(data) if _is_idat(data, j)
    )
    rows = bytearray(zlib.decompress(packed))
    how = chance.randrange(4)
    if how == 0:  # rows that are too few, or too many
        rows = rows[: chance.randrange(len(rows))] if chance.random() < 0.5 else rows * 2
    elif how == 1:  # filters that do not exist
        rows[:: max(len(rows) // 72, 1)] = bytes([chance.randrange(256)]) * len(
            rows[:: max(len(rows) // 72, 1)]
        )
    packed_again = bytearray(zlib.compress(bytes(rows)))
    if how >= 2:
        for _ in range(chance.choice((1, 3))):
            packed_again[chance.randrange(len(packed_again))] = chance.randrange(256)
    is_first = True
    for joint in joints(data):
        if not _is_idat(data, joint):
            out += data[joint.at : _chunk_end(data, joint) + 4]
        elif is_first:
            out += png_chunk(b"IDAT", bytes(packed_again))
            is_first = False
    return data[:at] + out


def _is_idat(data: bytes, joint: Joint) -> bool:
    return data[joint.at + 4 : joint.at + 8] == b"IDAT"


def _chunk_end(data: bytes, joint: Joint) -> int:
    return joint.at + 8 + int.from_bytes(data[joint.at : joint.at + 4], "big")


_CHANGES: dict[str, Callable[..., bytes]] = {
    "bytes": _change_bytes,
    "length": _change_length,
    "splice": _splice,
    "pixels": _change_pixels,
}


def _jpeg_joints(data: bytes) -> Iterator[Joint]:
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        code = data[at + 1]
        if code not in (0, 0xFF):
            yield Joint(at, at + 2, 2, ">")
            if not 0xD0 <= code <= 0xD9:
                at += int.from_bytes(data[at + 2 : at + 4], "big")
        at += 2


def _chunk_joints(data: bytes, at: int, order: str, *, length_first: bool) -> Iterator[Joint]:
    endian = "big" if order == ">" else "little"
    while at + 8 <= len(data):
        field = at if length_first else at + 4
        yield Joint(at, field, 4, order)
        length = int.from_bytes(data[field : field + 4], endian)
        at += length + (12 if length_first else 8 + length % 2)


def _tiff_joints(data: bytes) -> Iterator[Joint]:
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    endian = "big" if order == ">" else "little"
    word, entry, count_size = (8, 20, 8) if big else (4, 12, 2)
    first = 8 if big else 4
    yield Joint(first, first, word, order)
    at = int.from_bytes(data[first : first + word], endian)
    yield Joint(at, at, count_size, order)
    for number in range(min(int.from_bytes(data[at : at + count_size], endian), 40)):
        start = at + count_size + number * entry
        yield Joint(start, start, 2, order)  # which tag it is
        yield Joint(start + 2, start + 2, 2, order)  # its type
        yield Joint(start + 4, start + 4, word, order)  # how many values
        yield Joint(start + 4 + word, start + 4 + word, word, order)  # its value, or where it is


def _gif_joints(data: bytes) -> Iterator[Joint]:
    yield Joint(6, 6, 2, "<")
    yield Joint(8, 8, 2, "<")
    yield Joint(10, 10, 1, "<")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at < len(data) and data[at] != 0x3B:
        yield Joint(at, at, 1, "<")
        if data[at] == 0x2C:
            for field in (1, 3, 5, 7):
                yield Joint(at + field, at + field, 2, "<")
            flags = data[at + 9]
            at += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
        else:
            at += 2
        while at < len(data) and data[at]:
            yield Joint(at, at, 1, "<")
            at += 1 + data[at]
        at += 1


def _box_joints(data: bytes, at: int, end: int) -> Iterator[Joint]:
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            return
        yield Joint(at, at, 4, ">")
        kind = data[at + 4 : at + 8]
        if kind in (b"meta", b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from _box_joints(data, at + (12 if kind == b"meta" else 8), min(at + size, end))
        elif kind not in (b"mdat", b"ftyp"):
            for field in range(at + 8, min(at + size, at + 40) - 3, 4):
                yield Joint(field, field, 4, ">")
        at += size
