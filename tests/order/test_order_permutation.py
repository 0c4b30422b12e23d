from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infeed.order import hash64, key, permute
from infeed.order.permutation import feistel

keys = st.integers(0, 2**64 - 1)


def is_permutation(positions: np.ndarray, n: int) -> bool:
    return bool((np.bincount(positions, minlength=n) == 1).all()) and len(positions) == n


def test_every_small_n_is_permuted() -> None:
    for n in range(301):
        for seed in range(3):
            assert is_permutation(permute(np.arange(n), n, key(seed)), n)


def test_the_network_alone_permutes_every_small_n() -> None:
    # permute() itself takes the ranks of hashes here: the sizes where a * b - n is largest.
    for n in range(1, 301):
        round_keys = hash64(key(n), np.arange(8, dtype=np.uint64))
        assert is_permutation(feistel(np.arange(n, dtype=np.uint64), n, round_keys), n)


@pytest.mark.parametrize("n", [1023, 1024, 1025, 1026, 32**2 + 33, 33**2, 33 * 34, 443**2 + 1])
def test_sizes_at_the_seams_are_permuted(n: int) -> None:
    for seed in range(3):
        assert is_permutation(permute(np.arange(n), n, key(seed)), n)


@settings(deadline=None)
@given(st.integers(0, 10**5), keys)
def test_any_n_is_permuted(n: int, permutation_key: int) -> None:
    assert is_permutation(permute(np.arange(n), n, permutation_key), n)


@settings(deadline=None)
@given(st.integers(1, 2**62), keys, st.data())
def test_an_entry_does_not_depend_on_its_company(
    n: int, permutation_key: int, data: st.DataObject
) -> None:
    index = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    together = permute(np.array(index), n, permutation_key)
    assert together.dtype == np.int64
    assert ((together >= 0) & (together < n)).all()
    assert len(set(together.tolist())) == len(set(index))
    for i, position in zip(index, together.tolist(), strict=True):
        assert permute(np.array([i]), n, permutation_key).tolist() == [position]


def test_the_index_keeps_its_shape_and_its_values() -> None:
    index = np.arange(2000).reshape(40, 50)
    index.setflags(write=False)
    positions = permute(index, 2000, 3)
    assert positions.shape == (40, 50)
    assert np.array_equal(permute(index[::-1, ::2], 2000, 3), positions[::-1, ::2])
    assert np.array_equal(permute(index.T, 2000, 3), positions.T)
    assert permute(index[3, 4], 2000, 3) == positions[3, 4]
    assert np.array_equal(permute(index.astype(np.uint16), 2000, 3), positions)
    assert np.array_equal(permute(index.astype(">i8"), 2000, 3), positions)


@pytest.mark.parametrize("n", [0, 5, 5000])
def test_an_empty_index_has_no_positions(n: int) -> None:
    positions = permute(np.empty(0, dtype=np.int64), n, 3)
    assert positions.shape == (0,)
    assert positions.dtype == np.int64


@pytest.mark.parametrize("n", [0, 10, 5000, 2**62])
@pytest.mark.parametrize("wrong", [-1, -(2**63), "n"])
def test_an_index_outside_is_named(n: int, wrong: int | str) -> None:
    outside = n if isinstance(wrong, str) else wrong
    with pytest.raises(IndexError, match=rf"^permute: index {outside} is outside \[0, {n}\)$"):
        permute(np.array([outside]), n, 3)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^permute needs n in \[0, 2\*\*62\], got -1$"):
        permute(np.arange(0), -1, 3)
    with pytest.raises(ValueError, match=r"^permute needs n in \[0, 2\*\*62\], got 46116860184"):
        permute(np.arange(3), 2**62 + 1, 3)
    with pytest.raises(ValueError, match=r"^a key must be in \[0, 2\*\*64\), got -3\."):
        permute(np.arange(3), 3, -3)
    with pytest.raises(TypeError, match=r"^permute needs integers, got dtype float64$"):
        permute(np.array([0.0]), 3, 3)
