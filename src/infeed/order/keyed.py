"""A 64-bit keyed hash of separate words, in integer arithmetic that this library defines.

Every random choice of infeed comes from here: no generator state, no numpy stream (numpy
promises those for one build only), only `+ * ^ >>` on 64-bit words, so that the result is
the same with every numpy version, byte order and platform. Golden files hold it in place.

Source: the finaliser and the constant of SplitMix64 (Steele, Lea, Flood: "Fast splittable
pseudorandom number generators", OOPSLA 2014; multipliers: David Stafford, "Better bit mixing",
variant 13; public-domain reference `splitmix64.c` by Sebastiano Vigna). It is not a
cryptographic hash.
"""

from __future__ import annotations

from operator import index as as_int
from typing import Final

import numpy as np
import numpy.typing as npt

MASK64: Final = (1 << 64) - 1

# 2**64 / golden ratio, odd: the step between two states of SplitMix64.
GAMMA: Final = 0x9E3779B97F4A7C15
_MULTIPLIER_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLIER_2: Final = 0x94D049BB133111EB

# Headers of `key`: which kind of word follows. The length of the word is added, so that no
# sequence of words is the beginning of another, or another one cut differently.
_POSITIVE: Final = 1 << 56
_NEGATIVE: Final = 2 << 56
_TEXT: Final = 3 << 56
_END: Final = 4 << 56

# uint64 beside uint64: numpy 1 would turn a uint64 array and a Python int into float64.
_U30, _U27, _U31, _U32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
_U_GAMMA = np.uint64(GAMMA)
_U_MULTIPLIER_1 = np.uint64(_MULTIPLIER_1)
_U_MULTIPLIER_2 = np.uint64(_MULTIPLIER_2)
_U_LOW32 = np.uint64(0xFFFFFFFF)


def key(*words: int | str) -> int:
    """A key, 0..2**64-1, that depends on every word, its kind and its place.

    Args:
        words: ints of any size and sign (also numpy's), and texts. The int 1 and the text
            "1" are different words, as are ("ab", "c") and ("a", "bc").

    Raises:
        TypeError: a word is neither an int nor a text.

    >>> from infeed.order import key
    >>> key(7, "shuffle", 0) == key(7, "shuffle", 0)
    True
    >>> key(0, 1) == key(1, 0)
    False
    """
    state = 0
    for word in words:
        if isinstance(word, str):
            # surrogatepass: a name that is not Unicode is a word like any other.
            data = word.encode("utf-8", "surrogatepass")
            header = _TEXT
        else:
            try:
                number = as_int(word)
            except TypeError:
                raise TypeError(f"a word of a key is an int or a str, got {word!r}") from None
            magnitude = abs(number)
            data = magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "little")
            header = _NEGATIVE if number < 0 else _POSITIVE
        state = _absorb(state, header + len(data))
        for start in range(0, len(data), 8):
            state = _absorb(state, int.from_bytes(data[start : start + 8], "little"))
    return _absorb(state, _END + len(words))


def hash64(key: int, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """uint64, the shape of `words`: for each word a hash that looks random and independent.

    Args:
        key: 0..2**64-1, as `key()` makes it.
        words: uint64, any shape; not modified.

    For one key it is a bijection of the 64-bit words: two words never share a hash.

    Raises:
        ValueError: `key` is outside 0..2**64-1.
        TypeError: `words` does not hold integers.
    """
    check_key(key)
    check_integers("hash64", words)
    return _hash(np.uint64(key), words)


def hash64_each(
    keys: npt.NDArray[np.uint64], words: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint64]:
    """uint64: `hash64` of each word with the key beside it.

    Args:
        keys: uint64, of a shape that broadcasts to that of `words`.
        words: integers, any shape; a negative one stands for itself plus 2**64.

    Raises:
        TypeError: `keys` or `words` does not hold integers.
    """
    check_integers("hash64_each", keys)
    check_integers("hash64_each", words)
    return _hash(keys, words)


def uniform_below(n: int, key: int, index: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """int64, the shape of `index`: for each index a draw from 0..n-1, each equally likely.

    Args:
        n: 1..2**63. The probability of a value is off by less than n / 2**64 of itself.
        key: 0..2**64-1, as `key()` makes it.
        index: integers >= 0, any shape: which draw; not modified.

    Raises:
        ValueError: `n` or `key` is out of range.
        TypeError: `index` does not hold integers.

    The high half of the 128-bit product hash * n (Lemire, "Fast random integer generation in
    an interval", 2019, without its rejection step), in 32-bit limbs.
    """
    if not 1 <= n <= 1 << 63:
        raise ValueError(f"uniform_below needs n in [1, 2**63], got {n}")
    check_integers("uniform_below", index)
    hashed = hash64(key, index.astype(np.uint64))
    high, low = np.right_shift(hashed, _U32), np.bitwise_and(hashed, _U_LOW32)
    n_high, n_low = np.uint64(n >> 32), np.uint64(n & 0xFFFFFFFF)
    # No sum below reaches 2**64: (2**32-1)**2 + 2 * (2**32-1) == 2**64 - 1.
    middle = np.add(np.multiply(high, n_low), np.right_shift(np.multiply(low, n_low), _U32))
    carry = np.add(np.multiply(low, n_high), np.bitwise_and(middle, _U_LOW32))
    drawn = np.add(np.multiply(high, n_high), np.right_shift(middle, _U32))
    return np.asarray(np.add(drawn, np.right_shift(carry, _U32))).astype(np.int64)


def mix_in_place(words: npt.NDArray[np.uint64], scratch: npt.NDArray[np.uint64]) -> None:
    """Replaces every word by SplitMix64's finaliser of it; `scratch` has the same shape."""
    np.right_shift(words, _U30, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, _U_MULTIPLIER_1, out=words)
    np.right_shift(words, _U27, out=scratch)
    np.bitwise_xor(words, scratch, out=words)
    np.multiply(words, _U_MULTIPLIER_2, out=words)
    np.right_shift(words, _U31, out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def check_key(key: int) -> None:
    """Raises ValueError unless `key` is a 64-bit word."""
    if not 0 <= key <= MASK64:
        raise ValueError(f"a key must be in [0, 2**64), got {key}. Make it with order.key(...)")


def check_integers(name: str, array: npt.NDArray[np.generic]) -> None:
    """Raises TypeError unless the array holds integers."""
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} needs integers, got dtype {array.dtype}")


def _hash(
    keys: np.uint64 | npt.NDArray[np.uint64], words: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint64]:
    hashed = np.array(words, dtype=np.uint64, order="C")
    scratch = np.empty_like(hashed)
    # The word is mixed before it meets the key, so that keys near to each other do not
    # give shifted copies of one sequence.
    np.add(hashed, _U_GAMMA, out=hashed)
    mix_in_place(hashed, scratch)
    np.bitwise_xor(hashed, keys, out=hashed)
    mix_in_place(hashed, scratch)
    return hashed


def _absorb(state: int, word: int) -> int:
    # For a given state, different words lead to different states.
    mixed = ((state + GAMMA) & MASK64) ^ word
    mixed = ((mixed ^ (mixed >> 30)) * _MULTIPLIER_1) & MASK64
    mixed = ((mixed ^ (mixed >> 27)) * _MULTIPLIER_2) & MASK64
    return mixed ^ (mixed >> 31)
