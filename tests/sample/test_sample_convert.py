"""to_float32: bit for bit what one would write by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.sample.convert import to_float32, whole_divisor

EVERY = np.arange(256, dtype=np.uint8)


def converted(scale):
    out = np.empty(256, np.float32)
    to_float32(EVERY, scale, out)
    return out


def test_no_scale_keeps_the_numbers():
    assert (converted(None) == EVERY).all()
    assert (converted(1) == EVERY).all()


@given(st.integers(1, 70_000))
def test_one_over_a_whole_number_is_the_division_by_it(divisor):
    by_hand = EVERY.astype(np.float32) / np.float32(divisor)
    assert converted(1 / divisor).tobytes() == by_hand.tobytes()


def test_the_tutorial_s_division_by_255_is_met_to_the_bit():
    assert converted(1 / 255).tobytes() == (EVERY.astype(np.float32) / 255).tobytes()
    assert converted(1 / 255)[255] == 1.0


@given(st.floats(1e-3, 100, allow_nan=False))
def test_any_other_scale_is_a_multiplication(scale):
    if whole_divisor(scale) is None:
        assert (converted(scale) == EVERY.astype(np.float32) * np.float32(scale)).all()


@pytest.mark.parametrize(
    ("scale", "divisor"),
    [(1 / 255, 255), (1 / 127.5, None), (0.5, 2), (1, 1), (2, None), (0, None), (-1 / 255, -255)],
)
def test_whole_divisors_are_recognised(scale, divisor):
    assert whole_divisor(scale) == divisor


def test_a_wrong_target_is_refused():
    with pytest.raises(
        ValueError, match=r"out must have the shape of source, \(256,\), got \(1,\)"
    ):
        to_float32(EVERY, None, np.empty(1, np.float32))
    with pytest.raises(TypeError, match="source must be uint8 and out float32, got uint8, float64"):
        to_float32(EVERY, None, np.empty(256))
