"""Header: the size and orientation that a full decoder finds, in bounded time."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import pytest
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample.av1 import read_frame_size
from infeed.sample.avif import strip_avif
from infeed.sample.gif import strip_gif
from infeed.sample.header import read_header
from infeed.sample.tiff import strip_tiff


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
    assert header[:5] == ("jpeg", 30, 20, 1, False)


def test_a_jpeg_of_one_scan_is_told_from_one_of_several(file):
    data = file(Image.new("RGB", (30, 20)), "JPEG")
    assert read_header(data).one_scan
    assert read_header(file(Image.new("L", (30, 20)), "JPEG")).one_scan
    assert not read_header(file(Image.new("RGB", (30, 20)), "JPEG", progressive=True)).one_scan
    # The first scan has one of three colours: others follow, as many as somebody likes.
    several = bytearray(data)
    several[data.index(b"\xff\xda") + 4] = 1
    assert not read_header(bytes(several)).one_scan
    assert not read_header(data[: data.index(b"\xff\xda")]).one_scan


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
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * 5_000_000 + b"\0;",
        b"GIF89a" + bytes(8_000_000),
    ],
    ids=["jpeg", "jpeg-fill", "jpeg-stuffed", "png", "webp", "avif", "tiff", "gif", "gif-none"],
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


def box(kind, content):
    return struct.pack(">I", len(content) + 8) + kind + content


def test_an_avif_that_ends_in_an_empty_association_is_corrupt():
    primary = box(b"pitm", b"\0\0\0\0\0\1")
    properties = box(b"iprp", box(b"ipco", b"") + box(b"ipma", b""))
    data = box(b"ftyp", b"avif\0\0\0\0avif") + box(b"meta", bytes(4) + primary + properties)
    with pytest.raises(DecodeError, match="which picture is the main one") as caught:
        read_header(data)
    assert caught.value.reason == "corrupt"


def test_a_tiff_that_gives_its_height_twice_is_rebuilt_with_the_one_that_was_checked():
    # The first one is of a type (UNDEFINED) in which no size is read, and says 0.
    entries = [
        (256, 4, 1, 5), (257, 7, 1, 0), (257, 4, 1, 3), (258, 3, 1, 8), (262, 3, 1, 1),
        (273, 4, 1, 8), (279, 4, 1, 15),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = b"II*\0" + struct.pack("<I", 24) + bytes(range(16)) + directory
    assert read_header(data)[1:3] == (5, 3)
    rebuilt = Image.open(io.BytesIO(strip_tiff(data)))
    assert rebuilt.size == (5, 3)
    assert rebuilt.tobytes() == bytes(range(15))


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        # A still picture of 64 x 48, as Pillow's encoder writes it; behind a delimiter.
        ("12000a0918157fbda2021a0d08", (64, 48)),
        # The first of an animation, whose header has timing and operating points before the size.
        ("0a0b00000024c4ffdf3ff83202", None),
        ("0a", None),
        ("0a00", None),
        ("0a8080808080808080", None),
        ("", None),
        ("1200" * 40, None),
    ],
)
def test_the_size_of_av1_frames_is_read_or_not_there(unit, size):
    found = read_frame_size(bytes.fromhex(unit))
    if size is not None or len(unit) < 20:
        assert found == size


@pytest.mark.parametrize("options", [{}, {"save_all": True}, {"subsampling": "4:4:4"}])
def test_the_frames_of_an_avif_are_as_large_as_it_says(file, options):
    if "save_all" in options:
        options = {"save_all": True, "append_images": [Image.new("RGB", (200, 120), 9)]}
    data = file(Image.new("RGB", (200, 120)), "AVIF", **options)
    start = data.index(b"mdat") + 4
    assert read_frame_size(data[start:]) == (200, 120)


def test_an_avif_with_larger_frames_than_it_says_is_corrupt(file):
    data = file(Image.new("RGB", (2000, 2000)), "AVIF", speed=10)
    at = data.index(b"ispe") + 8
    with pytest.raises(DecodeError, match="says 256 pixels, and holds frames of 2000 x 2000"):
        read_header(data[:at] + struct.pack(">II", 16, 16) + data[at + 8 :])


def test_an_animated_avif_is_taken_for_its_main_picture(file):
    frames = [Image.new("RGB", (40, 30), color) for color in ((200, 0, 0), (0, 0, 200))]
    data = file(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    stripped = Image.open(io.BytesIO(strip_avif(data)))
    assert stripped.size == (40, 30)
    assert stripped.n_frames == 1


def test_a_gif_is_as_large_as_its_first_picture_needs(file):
    data = file(Image.new("L", (30, 20)), "GIF")
    at = data.index(b",", 13)
    wider = data[: at + 1] + struct.pack("<H", 15) + data[at + 3 :]  # 15 further to the right
    assert read_header(wider)[1:3] == (45, 20)
    assert Image.open(io.BytesIO(strip_gif(wider))).size == (45, 20)
