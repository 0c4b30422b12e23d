"""`copy_limit`: what a bare process copies."""

from __future__ import annotations

import pytest

from infeed.bench import copy_limit


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", None), ("float32", 1 / 255)])
@pytest.mark.parametrize("images", [1, 5, 130])
def test_sets_of_any_size_are_copied(images, dtype, scale):
    speed = copy_limit(images, shape=(8, 8, 3), batch=4, batches=3, dtype=dtype, scale=scale)
    assert speed > 0


@pytest.mark.slow  # it takes 512 MiB, where all would be 150 TB
def test_of_a_large_set_only_a_part_is_held():
    speed = copy_limit(10**9, shape=(224, 224, 3), batch=64, batches=4, dtype="uint8")
    assert speed > 0


def test_a_process_that_fails_is_an_error_with_what_it_said():
    with pytest.raises(RuntimeError, match=r"measures copying failed:\n[^$]*nonsense"):
        copy_limit(1, shape=(8, 8, 3), batch=4, batches=3, dtype="nonsense")
