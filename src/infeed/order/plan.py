"""Which records make up one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt


@final
@dataclass(frozen=True, slots=True, eq=False)
class BatchPlan:
    """The records of one shard's batch, in order; without pixels.

    The arrays are taken over and made read-only.

    Attributes:
        epoch: 0, 1, ...
        number: which batch of the epoch, 0, 1, ...
        phase: how many samples lie before the first cut, 0 unless the batches are cut elsewhere
            than from the beginning.
        positions: int64 (rows,), records of the manifest, 0..n-1.
        weights: float32 (rows,), 1 for a record that counts, 0 for a padded row, which
            repeats a record of the same epoch.
        sample_epochs: int64 (rows,), the epoch that each sample belongs to: `epoch`, except
            that the first rows of a batch that "carry" put together come from earlier ones.
        turns: int64 (rows,), which time the record comes. Where every record comes once an
            epoch: 0. With replacement: the number of the draw within the epoch. With quotas
            of classes: how often the record has come before in the whole run. A padded row
            has a turn below 0. No two rows of an epoch share position and turn.
    """

    epoch: int
    number: int
    phase: int
    positions: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    sample_epochs: npt.NDArray[np.int64]
    turns: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for array in (self.positions, self.weights, self.sample_epochs, self.turns):
            array.setflags(write=False)

    @property
    def rows(self) -> int:
        """The number of rows, padded ones included."""
        return len(self.positions)
