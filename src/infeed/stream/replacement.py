"""Which record takes the place of a bad one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from infeed.manifest import Manifest
from infeed.order import key, uniform_below

# Drawn one by one until one is good. Sixteen bad ones in a row are no accident but a wrong
# folder or a dead disk.
SAME_CLASS_TRIES = 8
ANY_CLASS_TRIES = 8


def replacements(manifest: Manifest, *, seed: int, epoch: int, position: int) -> Iterator[int]:
    """Records to try in the place of a bad one: first of its class, then of any.

    Depends only on the manifest and on (seed, epoch, position): not on the thread, on the
    batch, or on what else was bad; so a resumed run replaces alike. The bad record itself is
    never among them; a class of one image has no other, and goes on to any class at once.
    """
    drawn = key(seed, "replacement", epoch, position)
    if manifest.labels is not None:
        same = manifest.positions_of_class(int(manifest.labels[position]))
        for index in _draws(len(same), drawn, SAME_CLASS_TRIES, start=0):
            if same[index] != position:
                yield int(same[index])
    for candidate in _draws(len(manifest), drawn, ANY_CLASS_TRIES, start=SAME_CLASS_TRIES):
        if candidate != position:
            yield candidate


def _draws(n: int, drawn: int, count: int, *, start: int) -> list[int]:
    if n < 2:
        return []
    draws: list[int] = uniform_below(n, drawn, np.arange(start, start + count)).tolist()
    return draws
