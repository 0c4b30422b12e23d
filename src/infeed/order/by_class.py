"""The order of an epoch in which every class has a quota."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infeed.order.keyed import hash64, hash64_each, key
from infeed.order.members import ClassMembers
from infeed.order.permutation import MAX_RECORDS, permute, permute_each
from infeed.order.sampling import ClassWeights, Sampling


def draw_by_class(
    index: npt.NDArray[np.int64],
    epoch: int,
    *,
    seed: int,
    sampling: Sampling | ClassWeights,
    members: ClassMembers,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions and turns, int64 (m,) each, of samples `index` of an epoch's global order.

    Args:
        index: integers (m,) in 0..n-1, n = len(members).
        sampling: one that is by class.

    Raises:
        ValueError: the sampling does not fit the classes, or the epoch times n outgrows 2**62.

    The samples of an epoch are n slots in shuffled order; a class with quota k owns k of them,
    which are its turns epoch * k to epoch * k + k - 1 of the whole run. The turns of a class
    go through a permutation of its m records, then through another one, and so on: no record
    of a class comes again before all have come, across epochs. A record's turn, in the result,
    is the number of that permutation: how often it has come before.
    """
    n = len(members)
    if (epoch + 1) * n > MAX_RECORDS:
        raise ValueError(f"epoch {epoch} of {n} samples lies beyond sample 2**62 of the run")
    quotas, ends = members.quotas(sampling)
    slot = permute(index, n, key(seed, "slots", epoch))
    label = np.searchsorted(ends, slot, side="right")
    quota = quotas[label]
    turn = slot - (ends[label] - quota) + quota * epoch
    count = members.counts[label]
    number, entry = np.divmod(turn, count)
    keys = hash64_each(hash64(key(seed, "members"), label.astype(np.uint64)), number)
    place = members.starts[label] + permute_each(entry, count, keys)
    return members.positions[place].astype(np.int64), number
