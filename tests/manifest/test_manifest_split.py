"""Promises of the split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.errors import ManifestError
from infeed.manifest.manifest import Manifest
from infeed.manifest.split import split, split_positions

FRACTIONS = st.floats(0, 1, exclude_min=True, exclude_max=True)
SEEDS = st.none() | st.integers()


@given(st.integers(1, 500), FRACTIONS, SEEDS)
def test_the_parts_are_disjoint_together_all_and_of_keras_size(count, fraction, seed):
    training, validation = split_positions(count, fraction, seed=seed)
    assert len(validation) == int(count * fraction)
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(count))
    assert np.all(np.diff(training) > 0)
    assert np.all(np.diff(validation) > 0)


def test_without_a_seed_the_last_rows_validate():
    training, validation = split(Manifest.from_rows("abcde"[i] for i in range(5)), 0.4)
    assert [training.uri(i) for i in range(3)] == ["a", "b", "c"]
    assert [validation.uri(i) for i in range(2)] == ["d", "e"]


def test_the_split_of_a_seed_is_what_it_was_when_it_was_frozen():
    assert split_positions(20, 0.3, seed=7)[1].tolist() == [3, 7, 12, 16, 17, 19]
    assert split_positions(20, 0.3, seed=-1)[1].tolist() == [4, 5, 14, 17, 18, 19]


def test_seeds_give_unrelated_splits():
    parts = [set(split_positions(10_000, 0.5, seed=seed)[1].tolist()) for seed in range(6)]
    for a in range(6):
        for b in range(a):
            assert 2_300 < len(parts[a] & parts[b]) < 2_700


def test_validation_rows_are_spread_evenly():
    validation = split_positions(100_000, 0.2, seed=1)[1]
    counts = np.histogram(validation, bins=10, range=(0, 100_000))[0]
    assert counts.min() > 1_800
    assert counts.max() < 2_200


def test_both_parts_keep_labels_and_classes():
    manifest = Manifest.from_rows(map(str, range(10)), range(10))
    training, validation = split(manifest, 0.2, seed=3)
    assert training.class_names == validation.class_names == manifest.class_names
    for part in (training, validation):
        assert all(part.record(i).label_name == part.uri(i) for i in range(len(part)))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_is_refused(fraction):
    with pytest.raises(ValueError, match="validation_split must be between 0 and 1, got"):
        split_positions(10, fraction)


def test_a_share_too_small_for_one_row_is_refused():
    with pytest.raises(ManifestError, match=r"no image is left; .* another split"):
        split(Manifest.from_rows(["a", "b"]), 0.1)
