"""What a file may ask of a decoder, and what decoders keep to themselves."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from infeed.errors import DecodeError
from infeed.sample.decode import decode_into
from infeed.sample.header import read_header
from infeed.sample.pillow import quiet_libtiff
from infeed.sample.png import PNG_MAGIC, strip_png
from infeed.sample.raster import decode_raster
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch
from infeed.sample.tiff import strip_tiff

SMALL = Recipe(24, 24)


def saved(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def run(data, recipe=SMALL):
    out = np.empty(recipe.shape, np.uint8)
    return out, decode_into(data, recipe, out, Scratch())


def reason_of(data, recipe=SMALL):
    with pytest.raises(DecodeError) as caught:
        run(data, recipe)
    return caught.value.reason


def test_the_more_pixels_a_jpeg_has_the_fewer_scans_it_may_have():
    data = saved(Image.new("RGB", (64, 64), 90), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    many = data[:-2] + scan * 100 + b"\xff\xd9"
    assert reason_of(many) == "corrupt"  # tried: a scan that comes again contradicts itself
    at = many.index(b"\xff\xc2") + 5
    wide = many[:at] + struct.pack(">HH", 9000, 9000) + many[at + 4 :]
    assert reason_of(wide) == "unsupported"


def test_a_sequential_jpeg_of_many_scans_is_refused_too():
    data = saved(Image.new("L", (8, 8), 90), "JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    # All of one colour are in the first scan: nothing behind it is decoded.
    assert reason_of(data[:-2] + scan * 600 + b"\xff\xd9") == "corrupt"
    # Of three they need not be.
    data = bytearray(saved(Image.new("RGB", (8, 8), (90, 80, 70)), "JPEG"))
    at = data.index(b"\xff\xda")
    data[at + 4] = 1
    scan = data[at:-2]
    assert reason_of(bytes(data[:-2] + scan * 600 + b"\xff\xd9")) == "unsupported"


def test_a_large_bmp_with_run_lengths_is_refused(mutants):
    data = mutants.run_length_bmp(40, 64)
    run(data)
    assert reason_of(data + bytes(1 << 24)) == "unsupported"


def png(width, height, rows, *, depth=8, color_type=0):
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    packed = zlib.compress(rows)
    return PNG_MAGIC + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area", "bicubic", "lanczos"])
@pytest.mark.parametrize("sides", [(2_000_001, 1), (1, 2_000_001), (70_000, 30), (30, 70_000)])
def test_a_picture_of_the_strangest_shape_is_read(interpolation, sides):
    width, height = sides
    data = png(width, height, (b"\0" + b"\x37" * width) * height)
    for fit in ("stretch", "crop", "pad"):
        out, note = run(data, Recipe(8, 8, fit=fit, interpolation=interpolation))
        assert note is None
        assert out.max() == 0x37


def test_a_colour_beyond_the_palette_is_black_and_no_complaint(capfd):
    data = png(3, 1, b"\0\0\1\7", color_type=3)
    palette = b"PLTE" + bytes([200, 100, 50, 10, 20, 30])
    chunk = struct.pack(">I", 6) + palette + struct.pack(">I", zlib.crc32(palette))
    at = data.index(b"IDAT") - 4
    out, note = run(data[:at] + chunk + data[at:], Recipe(1, 3))
    assert note is None
    assert out.tolist() == [[[200, 100, 50], [10, 20, 30], [0, 0, 0]]]
    assert capfd.readouterr() == ("", "")


def test_a_png_of_millions_of_rows_is_refused_before_it_is_unpacked():
    assert reason_of(png(1, (1 << 22) + 1, b"")) == "unsupported"
    assert reason_of(png(1, 1 << 22, b"")) == "corrupt"  # has no rows


def pixel_chunks(data):
    at, kinds = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8])
        checksum = int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
        assert checksum == zlib.crc32(data[at + 4 : at + 8 + length])
        at += 12 + length
    return kinds


def test_a_rebuilt_png_is_a_png_with_the_same_pixels():
    rng = np.random.default_rng(4)
    # Larger than a piece, a block of zlib's and the 64 KiB that are fed at a time.
    pixels = rng.integers(0, 256, (900, 700, 3), dtype=np.uint8)
    data = saved(Image.fromarray(pixels), "PNG", dpi=(7, 7))
    rebuilt = bytes(strip_png(data, keep_transparency=False))
    assert set(pixel_chunks(data)) - set(pixel_chunks(rebuilt)) == {b"pHYs"}
    assert (np.asarray(Image.open(io.BytesIO(rebuilt))) == pixels).all()
    assert (cv2.imdecode(np.frombuffer(rebuilt, np.uint8), 1)[:, :, ::-1] == pixels).all()


@pytest.mark.parametrize(
    ("rows", "reason", "text"),
    [
        (b"\0abc" * 2, "corrupt", "end 4 bytes early"),
        (b"\5abc" * 3, "corrupt", "filter 5, which does not exist"),
        (b"\0abc" * 2 + b"\xffabc", "corrupt", "filter 255"),
    ],
)
def test_a_png_whose_rows_are_wrong_is_refused_here_and_not_by_libpng(rows, reason, text, capfd):
    with pytest.raises(DecodeError, match=text) as caught:
        run(png(3, 3, rows))
    assert caught.value.reason == reason
    assert capfd.readouterr() == ("", "")


def test_a_png_with_more_rows_than_it_needs_is_read(capfd):
    whole, _ = run(png(3, 3, b"\0abc" * 3))
    more, note = run(png(3, 3, b"\0abc" * 3000))
    assert note is None
    assert (more == whole).all()
    assert capfd.readouterr() == ("", "")


def test_a_png_in_pieces_of_one_byte_is_read():
    whole = png(3, 3, b"\0abc" * 3)
    at = whole.index(b"IDAT") - 4
    packed = zlib.compress(b"\0abc" * 3)

    def chunk(content):
        checksum = struct.pack(">I", zlib.crc32(b"IDAT" + content))
        return struct.pack(">I", len(content)) + b"IDAT" + content + checksum

    pieces = b"".join(chunk(packed[place : place + 1]) for place in range(len(packed)))
    end = whole[-12:]
    assert (run(whole[:at] + chunk(b"") + pieces + end)[0] == run(whole)[0]).all()


def test_parts_of_a_tiff_that_lie_in_one_another_are_not_taken_apart():
    data = saved(Image.new("RGB", (64, 64), 90), "TIFF", compression="tiff_lzw", tiffinfo={278: 1})
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    grown = bytearray(data)
    for number in range(entries):
        at = first + 2 + 12 * number
        tag, kind, count, place = struct.unpack_from("<HHII", grown, at)
        if tag == 273:
            struct.pack_into(f"<{count}I", grown, place, *[8] * count)
        elif tag == 279:
            letter = {3: "H", 4: "I"}[kind]
            struct.pack_into(f"<{count}{letter}", grown, place, *[len(data) - 8] * count)
    assert len(strip_tiff(bytes(grown))) < 2 * len(data)


@pytest.mark.parametrize("compression", [6, 50001, 32809, 0])
def test_a_tiff_packed_in_another_way_never_reaches_a_decoder(compression):
    data = saved(Image.new("RGB", (8, 8), 90), "TIFF")
    at = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    assert reason_of(data[:at] + struct.pack("<H", compression) + data[at + 2 :]) == "unsupported"


def test_a_tiff_of_more_values_a_pixel_than_pillow_takes_is_unsupported(caplog):
    data = saved(Image.new("RGB", (8, 8), 90), "TIFF")
    at = data.index(struct.pack("<HHI", 277, 3, 1)) + 8
    assert reason_of(data[:at] + struct.pack("<H", 7) + data[at + 2 :]) == "unsupported"
    assert caplog.records == []


def test_pillow_s_libtiff_keeps_its_errors_to_itself(capfd):
    if not quiet_libtiff():
        pytest.skip("this Pillow hides libtiff within itself")
    data = bytearray(saved(Image.new("RGB", (64, 64), 90), "TIFF", compression="tiff_lzw"))
    data[20:60] = bytes(range(200, 240))
    assert reason_of(bytes(data)) in ("corrupt", "truncated")
    assert capfd.readouterr() == ("", "")


NO_OTHER_READER = """
import io, sys
import numpy as np
from PIL import Image
from infeed.errors import DecodeError
from infeed.sample import Recipe, Scratch, decode_into
files = [bytes.fromhex(line) for line in sys.stdin.read().split()]
for data in files:
    try:
        decode_into(data, Recipe(8, 8), np.empty((8, 8, 3), np.uint8), Scratch())
    except DecodeError:
        pass
sys.stdout.write(" ".join(sorted(Image.OPEN)))
"""


def test_no_reader_of_pillow_s_is_loaded_but_those_for_the_formats_that_are_read(mutants):
    files = [data for name, data in mutants.mutants(9, 150)]
    files += [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.4\n", b"MM\0*" + bytes(40), b"P6 9 9 255\n"]
    printed = subprocess.run(
        [sys.executable, "-c", NO_OTHER_READER],
        input=" ".join(data.hex() for data in files if data),
        capture_output=True,
        text=True,
        check=True,
    )
    known = {"AVIF", "BMP", "DIB", "GIF", "JPEG", "PNG", "TIFF", "WEBP"}
    assert set(printed.stdout.split()) <= known
    assert printed.stderr == ""


def test_damaged_exif_warns_nobody(mutants, jpeg_410):
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12"
    segment = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    files = [jpeg_410[:2] + segment + jpeg_410[2:]]
    avif = mutants.originals()["avif"]
    at = max(avif.find(b"MM\0*"), avif.find(b"II*\0"))
    assert at > 0
    files.append(avif[: at + 8] + b"\xff" * 4 + avif[at + 12 :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in files:
            assert run(data)[1] is None


def test_a_decoder_is_not_asked_for_a_size_that_was_not_checked():
    """What a file says within, and only a decoder gets to see, is held against the bound, too."""
    data = saved(Image.new("RGB", (64, 64), 90), "AVIF", speed=10)
    with pytest.raises(DecodeError, match="64 x 64 pixels within") as caught:
        decode_raster(data, read_header(data), "rgb", 64 * 64 - 1)
    assert caught.value.reason == "too_large"


def test_nothing_is_opened_and_nothing_left_open(mutants):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a count is all that is wanted
    for _, data in mutants.mutants(8, 300):
        try:
            run(data)
        except DecodeError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # likewise
