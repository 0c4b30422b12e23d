"""decode="exact" is cv2.imdecode and cv2.resize, to the bit; "fast" is close to it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from infeed.sample.recipe import Recipe

FILTERS = {
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def noisy(height, width):
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 30, smooth.shape, dtype=np.uint8))


UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image[::-1].swapaxes(0, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image[:, ::-1].swapaxes(0, 1),
}


def by_opencv(data, recipe, turned_here=None):
    flag = cv2.IMREAD_GRAYSCALE if recipe.color_mode == "grayscale" else cv2.IMREAD_COLOR
    if turned_here is not None:
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if turned_here is not None:
        image = np.ascontiguousarray(UPRIGHT[turned_here](image))
    image = cv2.resize(
        image, (recipe.width, recipe.height), interpolation=FILTERS[recipe.interpolation]
    )
    image = image.reshape(recipe.height, recipe.width, -1)
    return image[:, :, ::-1] if recipe.color_mode == "rgb" else image


def jpeg(pixels, **options):
    names = {name: getattr(cv2, f"IMWRITE_JPEG_{name.upper()}") for name in options}
    pairs = [part for name, value in options.items() for part in (names[name], value)]
    return cv2.imencode(".jpg", pixels, pairs)[1].tobytes()


SAMPLINGS = [
    getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in (411, 420, 422, 440, 444)
]


@pytest.mark.parametrize("color_mode", ["bgr", "rgb", "grayscale"])
@pytest.mark.parametrize("size", [(240, 320), (97, 131), (33, 16), (5, 3), (1, 1)])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("progressive", [0, 1])
def test_exact_jpeg_is_opencv_to_the_bit(decode, size, sampling, progressive, color_mode):
    data = jpeg(noisy(*size), sampling_factor=sampling, progressive=progressive, quality=80)
    recipe = Recipe(48, 64, color_mode=color_mode, decode="exact")
    assert (decode(data, recipe) == by_opencv(data, recipe)).all()


@pytest.mark.parametrize("color_mode", ["bgr", "rgb", "grayscale"])
def test_exact_grey_restarted_and_cmyk_jpeg_is_opencv_to_the_bit(file, decode, color_mode):
    pixels = noisy(120, 90)
    recipe = Recipe(48, 64, color_mode=color_mode, decode="exact")
    for data in (
        jpeg(pixels[:, :, 0]),
        jpeg(pixels, rst_interval=3),
        file(Image.fromarray(pixels).convert("CMYK"), "JPEG"),
    ):
        assert (decode(data, recipe) == by_opencv(data, recipe)).all()


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("color_mode", ["bgr", "rgb"])
def test_exact_holds_for_every_filter(decode, interpolation, color_mode):
    data = jpeg(noisy(240, 180))
    for height, width in ((224, 224), (60, 45), (300, 500)):
        recipe = Recipe(
            height, width, color_mode=color_mode, interpolation=interpolation, decode="exact"
        )
        assert (decode(data, recipe) == by_opencv(data, recipe)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_exact_is_upright_as_opencv_is(file, decode, format_, orientation):
    data = file(Image.fromarray(noisy(90, 140)), format_, orientation=orientation)
    for color_mode in ("bgr", "rgb"):
        recipe = Recipe(50, 40, color_mode=color_mode, decode="exact")
        got = decode(data, recipe)
        assert (got == by_opencv(data, recipe, turned_here=orientation)).all()
        if format_ != "WEBP":  # OpenCV 4.10 leaves it lying
            assert (got == by_opencv(data, recipe)).all()


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_exact_other_formats_are_opencv_to_the_bit(file, decode, format_, mode):
    image = Image.fromarray(noisy(90, 140))
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    data = file(image, format_)
    for color_mode in ("bgr", "rgb"):
        recipe = Recipe(50, 40, color_mode=color_mode, decode="exact")
        assert (decode(data, recipe) == by_opencv(data, recipe)).all()


def test_exact_holds_for_the_sampling_that_simplejpeg_cannot_read(decode, jpeg_410):
    recipe = Recipe(50, 40, color_mode="bgr", decode="exact")
    assert (decode(jpeg_410, recipe) == by_opencv(jpeg_410, recipe)).all()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(480, 640), (900, 1300), (1000, 333), (449, 897)])
def test_fast_is_close_to_exact_with_the_area_filter(photo, file, decode, size, fit, orientation):
    data = file(Image.fromarray(photo(*size)), "JPEG", orientation=orientation, quality=95)
    fast = decode(data, Recipe(112, 112, fit=fit, interpolation="area"))
    exact = decode(data, Recipe(112, 112, fit=fit, interpolation="area", decode="exact"))
    assert np.abs(fast.astype(int) - exact).mean() <= 1.5


@pytest.mark.parametrize("size", [(400, 224), (224, 400), (200, 150)])
def test_fast_equals_exact_where_a_side_does_not_shrink(file, decode, size):
    data = file(Image.fromarray(noisy(*size)), "JPEG")
    fast, exact = (decode(data, Recipe(224, 224, decode=how)) for how in ("fast", "exact"))
    assert (fast == exact).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_fast_repeats_colours_where_the_picture_shrinks_less_than_twice(photo, file, decode, fit):
    data = file(Image.fromarray(photo(400, 380)), "JPEG", subsampling="4:2:0", quality=90)
    fast, exact = (decode(data, Recipe(224, 224, fit=fit, decode=how)) for how in ("fast", "exact"))
    difference = np.abs(fast.astype(int) - exact)
    assert 0 < difference.mean() < 1
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(fast @ luma - exact @ luma).mean() < 0.3


def test_fast_equals_exact_where_colours_are_stored_in_full(photo, file, decode):
    data = file(Image.fromarray(photo(400, 380)), "JPEG", subsampling="4:4:4")
    fast, exact = (decode(data, Recipe(224, 224, decode=how)) for how in ("fast", "exact"))
    assert (fast == exact).all()
