"""What arrives is the picture that Pillow shows, in every format, mode, size and orientation."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from infeed.sample.recipe import Recipe

MODES = {
    "PNG": ("RGB", "L", "1", "RGBA", "LA", "P", "P+alpha", "I;16"),
    "WEBP": ("RGB", "RGBA", "L"),
    "BMP": ("RGB", "L", "1", "P", "RGBA"),
    "TIFF": ("RGB", "L", "1", "RGBA", "LA", "P", "I;16", "CMYK"),
    "GIF": ("RGB", "L", "1", "P"),
    "AVIF": ("RGB", "RGBA", "L"),
    "JPEG": ("RGB", "L", "CMYK"),
}
LOSSLESS = {
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100},
    "JPEG": {"quality": 95},
}
PILLOW_MODES = {"rgb": "RGB", "bgr": "RGB", "grayscale": "L", "rgba": "RGBA"}


def picture(pixels, mode):
    image = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    if mode.startswith("P"):
        return image.quantize(32)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(255 - pixels[:, :, 1] // 2))
        return image
    return image.convert(mode)


def pillow_shows(data, color_mode):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert(PILLOW_MODES[color_mode]))
    if color_mode == "bgr":
        return pixels[:, :, ::-1]
    return pixels.reshape(*pixels.shape[:2], -1)


def difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).mean()


@pytest.mark.parametrize("color_mode", ["rgb", "bgr", "grayscale", "rgba"])
@pytest.mark.parametrize(
    ("format_", "mode"), [(format_, mode) for format_, modes in MODES.items() for mode in modes]
)
def test_every_format_and_mode_is_what_pillow_shows(photo, file, decode, format_, mode, color_mode):
    options = dict(LOSSLESS.get(format_, {}))
    if mode == "P+alpha":
        options["transparency"] = 3
    data = file(picture(photo(37, 53), mode), format_, **options)
    expected = pillow_shows(data, color_mode)
    got = decode(data, Recipe(37, 53, color_mode=color_mode))
    assert difference(got, expected) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("color_mode", ["rgb", "grayscale", "rgba"])
def test_the_picture_stands_upright(photo, file, decode, format_, orientation, color_mode):
    image = Image.fromarray(photo(40, 64))
    data = file(image, format_, orientation=orientation, **LOSSLESS.get(format_, {}))
    expected = pillow_shows(data, color_mode)
    assert expected.shape[:2] == ((64, 40) if orientation >= 5 else (40, 64))
    got = decode(data, Recipe(*expected.shape[:2], color_mode=color_mode))
    assert difference(got, expected) <= 2


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 3), (8, 8), (17, 15)])
def test_tiny_pictures_are_read(photo, file, decode, format_, size):
    data = file(Image.fromarray(photo(*size)), format_, **LOSSLESS.get(format_, {}))
    assert difference(decode(data, Recipe(*size)), pillow_shows(data, "rgb")) <= 2


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area", "bicubic", "lanczos"])
def test_one_pixel_fills_whatever_is_asked(file, decode, fit, interpolation):
    data = file(Image.new("RGB", (1, 1), (10, 200, 90)), "PNG")
    got = decode(data, Recipe(6, 6, fit=fit, interpolation=interpolation))
    assert (got == (10, 200, 90)).all()


def test_sixteen_bits_keep_their_upper_eight(decode):
    deep = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(40, 30)
    data = cv2.imencode(".png", deep)[1].tobytes()
    for color_mode in ("rgb", "grayscale", "rgba"):
        got = decode(data, Recipe(40, 30, color_mode=color_mode))
        assert (got[:, :, 0] == deep >> 8).all()


def test_transparency_is_dropped_not_blended(file, decode):
    image = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    for format_ in ("PNG", "TIFF", "WEBP"):
        data = file(image, format_, **LOSSLESS.get(format_, {}))
        assert (decode(data, Recipe(4, 4)) == (200, 100, 50)).all()
        assert (decode(data, Recipe(4, 4, color_mode="rgba")) == (200, 100, 50, 0)).all()


def test_what_has_no_transparency_is_opaque(photo, file, decode):
    for format_ in ("JPEG", "PNG", "BMP", "GIF"):
        data = file(Image.fromarray(photo(8, 8)), format_)
        assert (decode(data, Recipe(8, 8, color_mode="rgba"))[:, :, 3] == 255).all()


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_of_several_frames_the_first_is_read(file, decode, format_):
    red, blue = Image.new("RGB", (16, 16), (200, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 200))
    data = file(red, format_, save_all=True, append_images=[blue])
    got = decode(data, Recipe(16, 16)).reshape(-1, 3).mean(0)
    assert abs(got - (200, 0, 0)).max() < 3


def test_grayscale_is_the_luma_of_the_colours(photo, file, decode):
    pixels = photo(32, 32)
    luma = pixels @ (0.299, 0.587, 0.114)
    for format_ in ("JPEG", "PNG", "BMP"):
        data = file(Image.fromarray(pixels), format_, **LOSSLESS.get(format_, {}))
        got = decode(data, Recipe(32, 32, color_mode="grayscale"))
        assert difference(got[:, :, 0], luma) <= 1.5
