"""The division of a manifest into a part to train on and a part to validate with."""

from __future__ import annotations

import hashlib
from operator import index
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infeed.manifest.manifest import Manifest

# SplitMix64 (Steele, Lea and Flood, 2014): the step, then shift and factor, twice.
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS: Final = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT: Final = np.uint64(31)


class Split(NamedTuple):
    """Two manifests, disjoint, together all rows; each in the order of the whole."""

    training: Manifest
    validation: Manifest


def split(manifest: Manifest, validation_split: float, *, seed: int | None = None) -> Split:
    """The manifest in two: exactly `int(n * validation_split)` rows to validate, as in Keras.

    Args:
        validation_split: the share to validate with, in (0, 1).
        seed: decides which rows. None: the last ones, as in Keras without shuffling.

    Raises:
        ValueError: `validation_split` is not in (0, 1).
        ManifestError: the share is so small that no row is left to validate with.
    """
    training, validation = split_positions(len(manifest), validation_split, seed=seed)
    return Split(manifest.subset(training), manifest.subset(validation))


def split_positions(
    count: int, validation_split: float, *, seed: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The positions to train on and those to validate with, of `count`; both ascending.

    With a seed, position p is given the 64-bit number SplitMix64(key, p), where the key is
    BLAKE2b of the seed, and the rows with the smallest numbers validate. It is integer
    arithmetic throughout, so the same on every machine; no two positions share a number,
    so the sizes are exact.

    >>> split_positions(5, 0.4)
    (array([0, 1, 2]), array([3, 4]))
    """
    if not 0.0 < validation_split < 1.0:
        raise ValueError(f"validation_split must be between 0 and 1, got {validation_split!r}")
    size = int(count * validation_split)
    if seed is None:
        positions = np.arange(count, dtype=np.int64)
        return positions[: count - size], positions[count - size :]
    validates = np.zeros(count, np.bool_)
    validates[np.argsort(_numbers(count, index(seed)), kind="stable")[:size]] = True
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def _numbers(count: int, seed: int) -> npt.NDArray[np.uint64]:
    words = f"infeed split 1 {seed}".encode()
    key = np.uint64(int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little"))
    # Arrays of uint64 wrap around, as they should; so the key must enter as an array too.
    numbers = np.arange(1, count + 1, dtype=np.uint64) * _STEP + key
    for shift, factor in _ROUNDS:
        numbers = (numbers ^ (numbers >> shift)) * factor
    return numbers ^ (numbers >> _LAST_SHIFT)
