"""Promises of one drawn leaf and of its file."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from infeed.demo.jpeg import encode_jpeg
from infeed.demo.leaf import CLASSES, draw_leaf


def a_leaf(label: int = 0, *, seed: int = 3, height: int = 60, width: int = 80) -> np.ndarray:
    return draw_leaf(np.random.default_rng(seed), label, height=height, width=width)


@given(
    label=st.integers(0, len(CLASSES) - 1),
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    seed=st.integers(0, 2**32),
)
def test_every_class_can_be_drawn_at_every_size(
    label: int, height: int, width: int, seed: int
) -> None:
    picture = a_leaf(label, seed=seed, height=height, width=width)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.std() > 2  # not one flat colour


def test_the_same_state_of_chance_draws_the_same_leaf() -> None:
    assert np.array_equal(a_leaf(2), a_leaf(2))
    assert not np.array_equal(a_leaf(2), a_leaf(2, seed=4))


def test_each_disease_shows_on_the_same_leaf() -> None:
    # Until the disease, chance is spent alike: the leaf and its place are the same.
    pictures = [a_leaf(label, height=160, width=200).astype(int) for label in range(len(CLASSES))]
    for label, picture in enumerate(pictures[1:], start=1):
        changed = np.abs(picture - pictures[0]).max(axis=2) > 40
        assert 0.002 < changed.mean() < 0.9, CLASSES[label]


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^label must be in \[0, 6\), got 6$"):
        a_leaf(6)


def test_a_picture_too_small_for_a_leaf_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 pixels, got 15x80"):
        a_leaf(height=15)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_who_obeys_the_orientation_sees_the_leaf_upright(orientation: int) -> None:
    picture = a_leaf(height=64, width=96)
    encoded = encode_jpeg(picture, quality=95, orientation=orientation)

    with Image.open(io.BytesIO(encoded)) as image:
        assert image.getexif().get(0x0112, 1) == orientation
        seen = np.asarray(ImageOps.exif_transpose(image))
    by_opencv = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    for upright in (seen, by_opencv):
        assert upright.shape == picture.shape
        assert np.abs(upright.astype(int) - picture).mean() < 6


def test_a_phone_stores_its_pixels_turned() -> None:
    with Image.open(io.BytesIO(encode_jpeg(a_leaf(), quality=90, orientation=6))) as image:
        assert image.size == (60, 80)  # width, height: the leaf is 80 wide and 60 high


def test_colour_is_stored_at_half_the_resolution() -> None:
    with Image.open(io.BytesIO(encode_jpeg(a_leaf(), quality=90))) as image:
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_an_orientation_that_no_phone_of_ours_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^orientation must be one of \[1, 3, 6\], got 8$"):
        encode_jpeg(a_leaf(), quality=90, orientation=8)
