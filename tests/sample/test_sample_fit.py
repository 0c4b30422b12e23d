"""Fit: Keras' geometry, OpenCV's pixels, written into the given row and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.sample.fit import fit_into, reduction, source_window, target_window
from infeed.sample.recipe import Recipe

sides = st.integers(1, 5000)
targets = st.integers(1, 600)


def keras_crop(height, width, target_height, target_width):
    """`smart_resize` of Keras 3.15, channels_last, static shape."""
    crop_height = int(float(width * target_height) / target_width)
    crop_height = max(min(height, crop_height), 1)
    crop_width = int(float(height * target_width) / target_height)
    crop_width = max(min(width, crop_width), 1)
    top = int(float(height - crop_height) / 2)
    left = int(float(width - crop_width) / 2)
    return (top, left, crop_height, crop_width)


def keras_pad(height, width, target_height, target_width):
    """Where `ops.image.resize(pad_to_aspect_ratio=True)` puts the picture: edges, unrounded."""
    padded_height = max(height, int(float(width * target_height) / target_width))
    padded_width = max(width, int(float(height * target_width) / target_height))
    top = int(float(padded_height - height) / 2)
    left = int(float(padded_width - width) / 2)
    down = target_height / (height + 2 * top)
    right = target_width / (width + 2 * left)
    return (top * down, left * right, (top + height) * down, (left + width) * right)


@given(sides, sides, targets, targets)
def test_the_cropped_window_is_keras_s(height, width, target_height, target_width):
    recipe = Recipe(target_height, target_width, fit="crop")
    expected = keras_crop(height, width, target_height, target_width)
    assert source_window(height, width, recipe) == expected


@given(st.integers(50, 5000), st.integers(50, 5000), targets, targets)
def test_the_padded_window_is_keras_s_to_a_pixel(height, width, target_height, target_width):
    recipe = Recipe(target_height, target_width, fit="pad")
    top, left, rows, columns = target_window(height, width, recipe)
    assert rows == target_height or columns == target_width
    assert 0 <= top <= top + rows <= target_height
    assert 0 <= left <= left + columns <= target_width
    assert abs(target_height - rows - 2 * top) <= 1
    expected = keras_pad(height, width, target_height, target_width)
    # Keras rounds in the picture's pixels, so a picture of 50 is up to 1/50 of the result off.
    slack = 1.5 + 2 * max(target_height / height, target_width / width)
    got = (top, left, top + rows, left + columns)
    assert all(abs(one - other) <= slack for one, other in zip(got, expected, strict=True))


@given(sides, sides, targets, targets, st.sampled_from(["stretch", "crop", "pad"]))
def test_a_reduced_picture_is_never_enlarged_and_never_larger_than_needed(
    height, width, target_height, target_width, fit
):
    recipe = Recipe(target_height, target_width, fit=fit)
    factor = reduction(height, width, recipe)
    _, _, rows, columns = source_window(height, width, recipe)
    _, _, to_rows, to_columns = target_window(height, width, recipe)
    if factor > 1:
        assert rows > (to_rows - 1) * factor
        assert columns > (to_columns - 1) * factor
    if factor < 8:
        assert rows <= (to_rows - 1) * 2 * factor or columns <= (to_columns - 1) * 2 * factor


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_only_the_given_row_is_written_and_all_of_it(channels, fit):
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
    recipe = Recipe(30, 50, color_mode=mode, fit=fit)
    image = np.full((64, 40, channels), 200, np.uint8)
    for shown in (image, image[:, :, 0]) if channels == 1 else (image,):
        batch = np.full((3, *recipe.shape), 77, np.uint8)
        fit_into(shown, 64, 40, recipe, batch[1])
        assert (batch[[0, 2]] == 77).all()
        assert set(np.unique(batch[1])) == ({0, 200} if fit == "pad" else {200})


def test_opencv_writes_into_the_row_itself():
    # What spares a copy per image: OpenCV hands back the very array that it was given.
    batch = np.zeros((2, 20, 30, 3), np.uint8)
    for row in (batch[1], batch[1][3:9, 4:20]):
        made = cv2.resize(np.ones((64, 40, 3), np.uint8), row.shape[1::-1], dst=row)
        assert made is row
    row = np.zeros((20, 30, 1), np.uint8)
    assert cv2.resize(np.ones((64, 40), np.uint8), (30, 20), dst=row) is row


def test_the_crop_is_the_centre_and_the_pad_is_zeros():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 50:150] = 255
    out = np.empty((40, 40, 3), np.uint8)
    fit_into(image, 100, 200, Recipe(40, 40, fit="crop"), out)
    assert (out == 255).all()
    fit_into(np.full_like(image, 9), 100, 200, Recipe(40, 40, fit="pad"), out)
    assert (out[10:30] == 9).all()
    assert not out[:10].any()
    assert not out[30:].any()


def test_a_reduced_picture_is_cropped_at_the_same_place():
    y, x = np.mgrid[0:800, 0:1203]
    image = np.stack([y * 255 // 799, x * 255 // 1202, x * 0], -1).astype(np.uint8)
    small = cv2.resize(image, (301, 200), interpolation=cv2.INTER_AREA)
    recipe = Recipe(100, 100, fit="crop", interpolation="area")
    whole, reduced = np.empty((2, 100, 100, 3), np.uint8)
    fit_into(image, 800, 1203, recipe, whole)
    fit_into(small, 800, 1203, recipe, reduced)
    assert np.abs(whole.astype(int) - reduced).mean() < 1


@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (3, 60000)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "area", "bicubic", "lanczos"])
def test_extreme_shapes_are_fitted(size, interpolation):
    image = np.full((*size, 3), 50, np.uint8)
    for fit in ("stretch", "crop", "pad"):
        out = np.empty((16, 16, 3), np.uint8)
        fit_into(image, *size, Recipe(16, 16, fit=fit, interpolation=interpolation), out)
        assert set(np.unique(out)) <= {0, 50}
        assert out.any()
