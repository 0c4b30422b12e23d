"""Keyed permutations of 0..n-1 that are computed entry by entry, in memory constant in n.

Up to `_RANKED` records: the rank of keyed hashes, which is a uniformly drawn permutation as
far as the hash is. Above: a Feistel network on the digits of the index in the radices
a, b near sqrt(n), with a * b >= n; what falls outside 0..n-1 walks on until it is inside.

Sources: Black and Rogaway, "Ciphers with arbitrary finite domains" (2002), "generalized
Feistel" and "cycle walking"; Luby and Rackoff (1988) and Patarin (2010) on the number of
rounds. It is a shuffle, not a cipher.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from infeed.order.keyed import (
    GAMMA,
    MASK64,
    check_integers,
    check_key,
    hash64,
    hash64_each,
    mix_in_place,
)

MAX_RECORDS: Final = 1 << 62

# 8 rounds could not be told from chance at n = 257 and 300 (40,000 keys each) nor at n = 1025
# (20,000); 6 could, at all three: places that share a digit held records whose rows differ as
# those of random pairs do not. The error shrinks as n grows. Ranking is faster up to its bound.
_RANKED: Final = 1024
_ROUNDS: Final = 8

# Where every entry has a permutation of its own, ranking costs n hashes an entry.
_RANKED_EACH: Final = 64

_U1 = np.uint64(1)
_U_GAMMA = np.uint64(GAMMA)


def permute(index: npt.NDArray[np.int64], n: int, key: int) -> npt.NDArray[np.int64]:
    """int64, the shape of `index`: where the keyed permutation of 0..n-1 sends each index.

    Args:
        index: integers in 0..n-1, any shape, in any order, repeats allowed; not modified.
        n: 0..2**62; with 0, `index` is empty.
        key: 0..2**64-1, as `order.key()` makes it; another key is another permutation.

    Raises:
        IndexError: an index is outside 0..n-1.
        ValueError: `n` or `key` is out of range.
        TypeError: `index` does not hold integers.

    >>> import numpy as np
    >>> from infeed.order import key, permute
    >>> permute(np.arange(8), 8, key(7, "example")).tolist()
    [3, 4, 2, 0, 7, 5, 6, 1]
    """
    if not 0 <= n <= MAX_RECORDS:
        raise ValueError(f"permute needs n in [0, 2**62], got {n}")
    check_key(key)
    check_integers("permute", index)
    # A copy; a negative index becomes a large one and is found by the same comparison.
    value = index.astype(np.uint64).reshape(-1)
    if not value.size:
        return index.astype(np.int64)
    outside = value >= np.uint64(n)
    if outside.any():
        wrong = index.reshape(-1)[outside][0]
        raise IndexError(f"permute: index {wrong} is outside [0, {n})")
    if n <= _RANKED:
        return rank(value, n, key).reshape(index.shape)
    round_keys = hash64(key, np.arange(_ROUNDS, dtype=np.uint64))
    return feistel(value, n, round_keys).reshape(index.shape)


def permute_each(
    index: npt.NDArray[np.int64], n: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """int64 (m,): where each index is sent by a permutation of its own, of 0..n-1 by its key.

    Args:
        index: integers (m,), each in 0..n-1 of its own n; not modified.
        n: integers (m,), each in 1..2**52.
        keys: uint64 (m,); equal keys and n are the same permutation.

    It is another permutation than that of `permute` with this key and n.
    """
    assert ((index >= 0) & (index < n)).all()
    permuted = np.empty(len(index), dtype=np.int64)
    is_small = n <= _RANKED_EACH
    for where, permutation in ((is_small, _rank_each), (~is_small, _feistel_each)):
        if where.any():
            permuted[where] = permutation(index[where], n[where], keys[where])
    return permuted


def rank(value: npt.NDArray[np.uint64], n: int, key: int) -> npt.NDArray[np.int64]:
    """int64: which of 0..n-1 has the `value`-th smallest keyed hash. O(n) memory."""
    # Hashes of one key never tie, so that any sorting algorithm gives this order.
    order = np.argsort(hash64(key, np.arange(n, dtype=np.uint64)))
    return order.astype(np.int64, copy=False)[value]


def feistel(
    value: npt.NDArray[np.uint64], n: int, round_keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """int64: `value`, in 0..n-1, after a Feistel network with one round per key.

    `value` is (m,) and is overwritten. Fewer than sqrt(n) of the a * b results are outside
    0..n-1, so that walks are rare and short.
    """
    radix = isqrt(n - 1) + 1
    a, b = np.uint64(radix), np.uint64(-(-n // radix))
    _encrypt(value, a, b, round_keys)
    outside = np.flatnonzero(value >= np.uint64(n))
    while outside.size:
        walking = value[outside]
        _encrypt(walking, a, b, round_keys)
        value[outside] = walking
        outside = outside[walking >= np.uint64(n)]
    return value.astype(np.int64)


def _rank_each(
    index: npt.NDArray[np.int64], n: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """int64 (m,): `rank` with an n and a key for each index, in memory O(m * n)."""
    columns = np.arange(n.max(), dtype=np.int64)
    grid = np.broadcast_to(columns, (len(n), len(columns)))
    hashes = hash64_each(keys[:, np.newaxis], grid)
    # Behind all others, and behind a hash that happens to be as large, since the sort is stable.
    hashes[grid >= n[:, np.newaxis]] = np.uint64(MASK64)
    order = np.argsort(hashes, axis=1, kind="stable")
    return np.take_along_axis(order, index[:, np.newaxis], axis=1)[:, 0]


def _feistel_each(
    index: npt.NDArray[np.int64], n: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """int64 (m,): `feistel` with an n and a key for each index."""
    # The root is rounded correctly on every machine, and exact below 2**52.
    radix = np.sqrt((n - 1).astype(np.float64)).astype(np.int64) + 1
    a, b = radix.astype(np.uint64), (-(-n // radix)).astype(np.uint64)
    rounds = np.arange(_ROUNDS, dtype=np.uint64)
    round_keys = hash64_each(keys, np.broadcast_to(rounds[:, np.newaxis], (_ROUNDS, len(n))))
    value = index.astype(np.uint64)
    outside = np.arange(len(value))
    while outside.size:
        walking = value[outside]
        _encrypt(walking, a[outside], b[outside], round_keys[:, outside])
        value[outside] = walking
        outside = outside[walking >= n[outside].astype(np.uint64)]
    return value.astype(np.int64)


def _encrypt(
    value: npt.NDArray[np.uint64],
    radix_a: np.uint64 | npt.NDArray[np.uint64],
    radix_b: np.uint64 | npt.NDArray[np.uint64],
    round_keys: npt.NDArray[np.uint64],
) -> None:
    """Sends each value in 0..a*b-1 to another one there, in place.

    Radices and the keys of a round are one for all values, or one for each.
    """
    left = np.floor_divide(value, radix_b)
    right = np.subtract(value, np.multiply(left, radix_b))
    mask, scratch = np.empty_like(value), np.empty_like(value)
    for number, round_key in enumerate(round_keys):
        # left += F(right) mod a, then right += F(left) mod b: each undone by subtracting.
        source, target, radix = (left, right, radix_b) if number % 2 else (right, left, radix_a)
        # Output number `source` of the SplitMix64 stream that starts at the round key.
        np.multiply(source, _U_GAMMA, out=mask)
        np.add(mask, round_key, out=mask)
        mix_in_place(mask, scratch)
        # 63 bits: the sum stays below 2**64, and the remainder is biased by 2**-31 at most.
        np.right_shift(mask, _U1, out=mask)
        np.add(target, mask, out=target)
        np.remainder(target, radix, out=target)
    np.multiply(left, radix_b, out=value)
    np.add(value, right, out=value)
