"""A keyed permutation of 0..n-1 that is computed entry by entry, in memory constant in n.

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

from infeed.order.keyed import GAMMA, check_integers, check_key, hash64, mix_in_place

MAX_RECORDS: Final = 1 << 62

# 8 rounds could not be told from chance at n = 257 and 300 (40,000 keys each) nor at n = 1025
# (20,000); 6 could, at all three: places that share a digit held records whose rows differ as
# those of random pairs do not. The error shrinks as n grows. Ranking is faster up to its bound.
_RANKED: Final = 1024
_ROUNDS: Final = 8

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
    a = isqrt(n - 1) + 1
    b = -(-n // a)
    _encrypt(value, a, b, round_keys)
    outside = np.flatnonzero(value >= np.uint64(n))
    while outside.size:
        walking = value[outside]
        _encrypt(walking, a, b, round_keys)
        value[outside] = walking
        outside = outside[walking >= np.uint64(n)]
    return value.astype(np.int64)


def _encrypt(
    value: npt.NDArray[np.uint64], a: int, b: int, round_keys: npt.NDArray[np.uint64]
) -> None:
    """Sends each value in 0..a*b-1 to another one there, in place."""
    radix_a, radix_b = np.uint64(a), np.uint64(b)
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
