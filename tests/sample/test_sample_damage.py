"""A picture with missing data is refused and named; a harmless oddity is recovered and named."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from infeed.errors import DECODE_REASONS, DecodeError
from infeed.sample.decode import decode_into
from infeed.sample.header import read_header
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch

SMALL = Recipe(24, 24)
EXACT = Recipe(24, 24, decode="exact")
END = b"\xff\xd9"


def textured(height=96, width=128):
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def save(image, format_, **options):
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def run(data, recipe=SMALL):
    out = np.empty(recipe.shape, np.uint8)
    note = decode_into(data, recipe, out, Scratch())
    return out, note


def reason_of(data, recipe=SMALL):
    with pytest.raises(DecodeError) as caught:
        run(data, recipe)
    assert caught.value.reason in DECODE_REASONS
    return caught.value.reason


JPEGS = {
    "baseline": save(textured(), "JPEG"),
    "4:4:4": save(textured(), "JPEG", subsampling=0),
    "grey": save(textured().convert("L"), "JPEG"),
    "restarts": save(textured(), "JPEG", restart_marker_blocks=5),
    "progressive": save(textured(), "JPEG", progressive=True),
}
OTHERS = {
    "png": save(textured(), "PNG"),
    "png palette": save(textured().quantize(16), "PNG"),
    "webp": save(textured(), "WEBP"),
    "webp lossless": save(textured(), "WEBP", lossless=True),
    "bmp": save(textured(), "BMP"),
    "bmp palette": save(textured().quantize(16), "BMP"),
    "tiff": save(textured(), "TIFF"),
    "tiff lzw": save(textured(), "TIFF", compression="tiff_lzw"),
    "gif": save(textured(), "GIF"),
    "avif": save(textured(), "AVIF"),
}


def pixels_start(data):
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("recipe", [SMALL, EXACT])
def test_a_jpeg_that_ends_early_is_truncated(name, recipe):
    data = JPEGS[name]
    reasons = [reason_of(data[:at], recipe) for at in range(pixels_start(data), len(data), 37)]
    # Cut within the tables between two scans, a progressive file contradicts itself instead.
    assert reasons.count("truncated") >= 0.9 * len(reasons)
    assert set(reasons) <= {"truncated", "corrupt"}
    assert reason_of(data[:-1], recipe) == "truncated"
    assert reason_of(data[:-2], recipe) == "truncated"


@pytest.mark.parametrize("name", ["baseline", "4:4:4", "grey", "restarts"])
def test_half_a_jpeg_with_an_end_glued_on_is_refused(name):
    data = JPEGS[name]
    whole, _ = run(data)
    for at in range(pixels_start(data), len(data) - 2, 11):
        try:
            out, note = run(data[:at] + END)
        except DecodeError as error:
            assert error.reason in ("truncated", "corrupt")  # noqa: PT017
        else:  # only the filling bits of the last byte were lost
            assert at >= len(data) - 4
            assert note is None
            assert (out == whole).all()


@pytest.mark.parametrize("at", range(0, 600, 7))
def test_a_jpeg_cut_before_its_pixels_is_refused(at):
    expected = {0: {"empty"}}.get(at, {"truncated", "corrupt", "not_an_image"})
    assert reason_of(JPEGS["baseline"][:at]) in expected


@pytest.mark.parametrize("name", JPEGS)
def test_bytes_after_the_end_are_passed_over(name):
    data = JPEGS[name]
    whole, _ = run(data)
    for tail in (b"\0", b"\n", b"trailing" * 99, data):
        out, note = run(data + tail)
        assert note is None
        assert (out == whole).all()


def places_for_extraneous(data):
    at = data.index(b"\xff\xdb")
    yield at
    yield data.index(b"\xff\xc4", at)
    yield data.rindex(b"\xff\xda")
    yield len(data) - 2


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("junk", [b"\0" * 9, b"abc" * 30, b"\xff\0" * 12])
def test_extraneous_bytes_before_a_marker_are_recovered_and_named(name, junk):
    data = JPEGS[name]
    whole, _ = run(data)
    for at in places_for_extraneous(data):
        out, note = run(data[:at] + junk + data[at:])
        assert note == "recovered: JPEG with extraneous bytes before a marker"
        assert (out == whole).all()


def test_extraneous_bytes_in_several_places_are_recovered():
    data = JPEGS["progressive"]
    whole, _ = run(data)
    odd = data
    for at in sorted(places_for_extraneous(data), reverse=True):
        odd = odd[:at] + b"extraneous" + odd[at:]
    out, note = run(odd + b"trailing")
    assert note is not None
    assert (out == whole).all()


def test_a_recovery_does_not_hide_missing_pixels():
    data = JPEGS["baseline"]
    at = data.index(b"\xff\xdb")
    half = data[:at] + b"extraneous" + data[at : len(data) * 2 // 3]
    assert reason_of(half) == "truncated"
    assert reason_of(half + END) == "truncated"


def test_unusual_sampling_is_read_when_it_is_whole(jpeg_410):
    out, note = run(jpeg_410, Recipe(128, 256))
    assert note is None
    assert out.std() > 20
    assert abs(out[4, 4].astype(int) - out[4, 5]).max() <= 1
    for color_mode, channels in (("grayscale", 1), ("rgba", 4), ("bgr", 3)):
        got, _ = run(jpeg_410, Recipe(128, 256, color_mode=color_mode))
        assert got.shape == (128, 256, channels)
        assert np.abs(got[:, :, 0].astype(int) - out[:, :, 0]).max() <= 1


def test_unusual_sampling_is_refused_when_pixels_are_missing(jpeg_410):
    whole, _ = run(jpeg_410)
    for at in range(pixels_start(jpeg_410), len(jpeg_410) - 2, 5):
        assert reason_of(jpeg_410[:at]) == "truncated"
        try:
            out, _ = run(jpeg_410[:at] + END)
        except DecodeError as error:
            assert error.reason == "truncated"  # noqa: PT017
        else:
            assert (out == whole).all()


def test_a_jpeg_of_too_many_scans_is_refused():
    data = JPEGS["progressive"]
    at = data.rindex(b"\xff\xda")
    scan = data[at:-2]
    assert reason_of(data[:-2] + scan * 600 + END) == "unsupported"


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("color_mode", ["rgb", "rgba"])
def test_other_formats_cut_short_are_refused(name, color_mode):
    data = OTHERS[name]
    recipe = Recipe(24, 24, color_mode=color_mode)
    # What a format allows after its pixels (a GIF's end byte, a filling byte) may be missing.
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        assert reason_of(data[: int(len(data) * share)], recipe) in ("truncated", "corrupt")


def chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def test_a_png_with_a_broken_checksum_is_refused():
    data = bytearray(OTHERS["png"])
    data[data.index(b"IDAT") + 200] ^= 1
    with pytest.raises(DecodeError, match="IDAT chunk at byte 33 does not match its checksum"):
        run(bytes(data))


def test_what_a_png_says_beside_its_pixels_neither_hurts_nor_speaks(capfd):
    data = OTHERS["png"]
    whole, _ = run(data)
    for extra in (
        chunk(b"iCCP", b"icc\0\0" + b"garbage"),
        chunk(b"tEXt", b"a\0b", checksum=1),
        chunk(b"zTXt", b"a\0\0garbage"),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"sRGB", b"\0") * 2,
        chunk(b"gAMA", struct.pack(">I", 20000)),
    ):
        for color_mode in ("rgb", "rgba"):
            out, note = run(data[:33] + extra + data[33:], Recipe(24, 24, color_mode=color_mode))
            assert note is None
            assert (out[:, :, :3] == whole).all()
    assert capfd.readouterr().err == ""


def test_a_good_or_bad_jpeg_is_decoded_in_silence(capfd, jpeg_410):
    for data in (*JPEGS.values(), jpeg_410):
        run(data)
        for at in (len(data) // 2, len(data) - 1):
            reason_of(data[:at])
            reason_of(data[: len(data) // 2] + END)
    assert capfd.readouterr().err == ""


def replaced(data, at, content):
    return data[:at] + content + data[at + len(content) :]


def bombs():
    jpeg = JPEGS["baseline"]
    side = (30000).to_bytes(2, "big")
    yield "jpeg", replaced(jpeg, jpeg.index(b"\xff\xc0") + 5, side + side)
    png = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    yield "png", OTHERS["png"][:8] + png + OTHERS["png"][33:]
    yield (
        "png huge",
        OTHERS["png"][:8] + chunk(b"IHDR", b"\x7f" * 8 + b"\x08\2\0\0\0") + OTHERS["png"][33:],
    )
    lossless = OTHERS["webp lossless"]
    yield "webp lossless", replaced(lossless, 21, b"\xff\xff\xff\x0f")
    yield "webp", replaced(OTHERS["webp"], 26, b"\xff\x3f\xff\x3f")
    yield "gif", replaced(OTHERS["gif"], 6, b"\xff\xff\xff\xff")
    avif = OTHERS["avif"]
    yield "avif", replaced(avif, avif.index(b"ispe") + 8, b"\0\0\xff\xff\0\0\xff\xff")
    tiff = OTHERS["tiff"]
    at = tiff.index(struct.pack("<HHII", 256, 4, 1, 128)) if tiff[:2] == b"II" else None
    if at is not None:
        yield "tiff", replaced(tiff, at + 8, struct.pack("<I", 4_000_000))


@pytest.mark.parametrize(("name", "data"), list(bombs()), ids=[name for name, _ in bombs()])
def test_a_bomb_is_refused_from_its_header(name, data):
    with pytest.raises(DecodeError, match=r"more than 89,478,485.*Recipe .*max_pixels") as got:
        run(data)
    assert got.value.reason == "too_large"


def test_the_pixel_budget_is_the_recipe_s():
    data = JPEGS["baseline"]  # 128 x 96
    run(data, Recipe(24, 24, max_pixels=128 * 96))
    assert reason_of(data, Recipe(24, 24, max_pixels=128 * 96 - 1)) == "too_large"


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"", "empty", "the file is empty"),
        (b"hello", "not_an_image", "no image format begins with b'hello'"),
        (b"\0" * 4096, "not_an_image", "no image format begins with"),
        (b"<!DOCTYPE html><html>404", "not_an_image", "It is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "not_an_image", "git lfs pull"),
        (b"<svg xmlns='...'/>", "not_an_image", "vector drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported", "HEIC .iPhone. picture"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "unsupported", "Convert it to JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "not_an_image", "media file of brand b'isom'"),
        (b"\xff\x0a\0\0", "unsupported", "a JPEG XL file"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "unsupported", "a JPEG 2000 file"),
        (b"\xff\xd8\xff", "truncated", "the JPEG ends after 3 bytes"),
        (b"\xff\xd8\xff\xd9" + bytes(20), "corrupt", "no size before its pixels"),
        (b"BM", "truncated", "the BMP ends"),
        (b"GIF89a", "truncated", "the GIF ends"),
        (b"II*\0\x08\0\0\0", "truncated", "first directory has no size"),
    ],
)
def test_the_error_says_what_the_file_is(data, reason, text):
    with pytest.raises(DecodeError, match=text) as caught:
        run(data)
    assert caught.value.reason == reason


def test_twelve_bits_are_unsupported():
    data = JPEGS["baseline"]
    assert reason_of(replaced(data, data.index(b"\xff\xc0") + 4, b"\x0c")) == "unsupported"


def test_float_pixels_are_unsupported():
    data = save(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="nobody says where white is") as caught:
        run(data)
    assert caught.value.reason == "unsupported"


SEEDS = [*JPEGS.values(), *OTHERS.values()]


@st.composite
def damaged_files(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    # The first bytes decide most, so they are hit most.
    near = min(draw(st.sampled_from([40, 700, len(data)])), len(data)) - 1
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, near))
        junk = draw(st.binary(min_size=1, max_size=4))
        how = draw(st.sampled_from(["replace", "insert", "delete"]))
        if how == "replace":
            data[at : at + len(junk)] = junk
        elif how == "insert":
            data[at:at] = junk
        else:
            del data[at : at + len(junk)]
    return bytes(data)


@given(damaged_files(), st.sampled_from(["rgb", "grayscale", "rgba"]))
def test_whatever_the_bytes_only_a_decode_error_escapes(data, color_mode):
    recipe = Recipe(24, 24, color_mode=color_mode, max_pixels=1_000_000)
    try:
        run(data, recipe)
    except DecodeError as error:
        assert error.reason in DECODE_REASONS  # noqa: PT017


@given(st.sampled_from([data[:12] for data in SEEDS]), st.binary(max_size=200))
def test_whatever_follows_a_known_beginning_the_header_answers_or_refuses(beginning, rest):
    try:
        header = read_header(beginning + rest)
    except DecodeError:
        return
    assert header.width >= 1
    assert header.height >= 1
    assert 1 <= header.orientation <= 8
