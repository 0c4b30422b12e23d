"""Scratch: memory that is used again, and bounded."""

from __future__ import annotations

import numpy as np
import pytest

from infeed.sample.scratch import KEPT_BYTES, Scratch


def test_a_buffer_is_used_again():
    scratch = Scratch()
    first = scratch.decoded(1000)
    assert first.nbytes >= 1000
    assert np.shares_memory(scratch.decoded(700), first)
    assert np.shares_memory(scratch.turned((10, 10, 3)), scratch.turned((5, 5)))


def test_the_two_buffers_never_overlap():
    scratch = Scratch()
    assert not np.shares_memory(scratch.decoded(300), scratch.turned((10, 10, 3)))


def test_a_growing_buffer_does_not_grow_each_time():
    scratch = Scratch()
    sizes = {scratch.decoded(size).nbytes for size in range(10_000, 20_000, 100)}
    assert len(sizes) < 10


def test_what_is_kept_is_bounded():
    scratch = Scratch(kept_bytes=1000)
    assert scratch.decoded(990).nbytes >= 990
    assert scratch.decoded(5000).nbytes >= 5000
    assert scratch.turned((50, 40, 3)).shape == (50, 40, 3)
    assert scratch.nbytes <= 2000
    assert KEPT_BYTES == 64 * 2**20


def test_the_turned_buffer_has_the_shape_asked_for():
    turned = Scratch().turned((3, 4, 1))
    assert turned.shape == (3, 4, 1)
    assert turned.flags.c_contiguous
    assert turned.dtype == np.uint8


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="kept_bytes must not be negative, got -1"):
        Scratch(kept_bytes=-1)
