"""Header: the size and orientation that a full decoder finds, in bounded time."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import pytest
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample.header import read_header


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (640, 480), (257, 1)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_size_and_format_are_pillow_s(file, format_, size, mode):
    if (format_, mode) == ("JPEG", "RGBA"):
        mode = "CMYK"
    data = file(Image.new(mode, size), format_)
    header = read_header(data)
    assert header.format == format_.lower()
    assert (header.width, header.height) == Image.open(io.BytesIO(data)).size
    assert header.orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_what_was_written(file, format_, orientation):
    data = file(Image.new("RGB", (30, 20)), format_, orientation=orientation)
    header = read_header(data)
    assert (header.width, header.height, header.orientation) == (30, 20, orientation)


def exif_block(order, kind, value, *, tag=0x0112, count=1):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    shown = struct.pack(order + kind, value).ljust(4, b"\0")
    code = {"B": 1, "H": 3, "I": 4}[kind]
    entry = struct.pack(order + "HHI", tag, code, count) + shown
    return mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def jpeg_with(file, *segments):
    plain = file(Image.new("RGB", (30, 20)), "JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def app1(content):
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["B", "H", "I"])
def test_exif_is_read_in_both_byte_orders(file, order, kind):
    data = jpeg_with(file, app1(b"Exif\0\0" + exif_block(order, kind, 6)))
    assert read_header(data).orientation == 6


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"XX*\0" + bytes(20),
        exif_block("<", "H", 0),
        exif_block("<", "H", 9),
        exif_block("<", "H", 6, tag=0x0113),
        exif_block("<", "H", 6, count=0),
        exif_block("<", "H", 6, count=2**31),
        exif_block("<", "H", 6)[:15],
    ],
)
def test_broken_exif_reads_as_upright(file, exif):
    header = read_header(jpeg_with(file, app1(b"Exif\0\0" + exif)))
    assert header == ("jpeg", 30, 20, 1, False)


def test_of_two_exif_blocks_the_first_counts_and_others_are_passed_over(file):
    first, second = (app1(b"Exif\0\0" + exif_block("<", "H", value)) for value in (8, 3))
    xmp = app1(b"http://ns.adobe.com/xap/1.0/\0<x/>")
    assert read_header(jpeg_with(file, xmp, first, second)).orientation == 8


def test_fill_bytes_and_strays_before_a_marker_are_passed_over(file):
    data = jpeg_with(file, app1(b"first"), b"stray", b"\xff\x01", b"\xff\xff\xff")
    assert read_header(data)[:3] == ("jpeg", 30, 20)


def test_png_orientation_is_found_behind_the_pixels(file):
    data = file(Image.new("RGB", (30, 20)), "PNG")
    content = b"eXIf" + exif_block(">", "H", 7)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    assert read_header(data[:-12] + chunk + data[-12:]).orientation == 7


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2_000_000,
        b"\xff\xd8\xff" + b"\xff" * 8_000_000,
        b"\xff\xd8\xff" + b"\xff\x00" * 4_000_000,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17) + (b"\0\0\0\0tEXt\0\0\0\0" * 700_000),
        b"RIFF\xff\xff\xff\x00WEBPVP8X\x0a\0\0\0\x08" + bytes(20_000_000),
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 1_000_000,
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8_000_000,
    ],
    ids=["jpeg", "jpeg-fill", "jpeg-stuffed", "png", "webp", "avif", "tiff"],
)
def test_a_file_made_to_keep_us_busy_is_refused_soon(data):
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with pytest.raises(DecodeError):
            read_header(data)
    finally:
        sys.settrace(before)
    assert lines < 1_000_000  # 65,536 parts of some ten lines; without that bound many more
