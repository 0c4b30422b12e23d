"""The global orders of epochs, entry by entry: which record is sample i of epoch e."""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from infeed.order.by_class import draw_by_class
from infeed.order.keyed import key, uniform_below
from infeed.order.members import ClassMembers
from infeed.order.permutation import permute
from infeed.order.sampling import ClassWeights, Sampling


@final
class EpochOrder:
    """The orders of all epochs over n records.

    Args:
        n: the number of records, 1..2**62.
        seed: any int.
        sampling: what an epoch is, as in `Sampler`.
        members: the classes of the records, for samplings by class.
    """

    __slots__ = ("_members", "_n", "_sampling", "_seed")

    def __init__(
        self,
        n: int,
        seed: int,
        sampling: Sampling | ClassWeights,
        members: ClassMembers | None = None,
    ) -> None:
        self._n = n
        self._seed = seed
        self._sampling = sampling
        self._members = members

    def samples(
        self, index: npt.NDArray[np.int64], epochs: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Positions and turns, int64 (rows,) each.

        Args:
            index: int64 (rows,), places in an epoch's global order, each in 0..n-1.
            epochs: int64 (rows,), the epoch of each, ascending.
        """
        cuts = (np.flatnonzero(np.diff(epochs)) + 1).tolist()
        if not cuts:
            return self._epoch(index, int(epochs[0]))
        parts = [
            self._epoch(index[start:end], int(epochs[start]))
            for start, end in zip([0, *cuts], [*cuts, len(index)], strict=True)
        ]
        positions, turns = zip(*parts, strict=True)
        return np.concatenate(positions), np.concatenate(turns)

    def _epoch(
        self, index: npt.NDArray[np.int64], epoch: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        n, seed = self._n, self._seed
        if self._sampling == "sequential":
            return index, np.zeros_like(index)
        if self._sampling == "shuffle":
            return permute(index, n, key(seed, "shuffle", epoch)), np.zeros_like(index)
        if self._sampling == "replacement":
            return uniform_below(n, key(seed, "replacement", epoch), index), index
        if self._members is None or len(self._members) != n:
            given = "none" if self._members is None else f"those of {len(self._members)}"
            raise ValueError(
                f"sampling={self._sampling!r} needs the classes of the {n} records, got {given}. "
                "Pass members=ClassMembers(labels)."
            )
        return draw_by_class(
            index, epoch, seed=seed, sampling=self._sampling, members=self._members
        )
