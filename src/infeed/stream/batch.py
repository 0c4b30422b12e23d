"""What the loader delivers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Stacked samples with the place they came from.

    The arrays belong to whoever holds them or any view of them: infeed writes to their memory
    again only when nobody does any more.

    Attributes:
        images: uint8 or float32 (rows, height, width, channels), C-contiguous, starting on
            a 64-byte boundary.
        labels: int32 (rows,), float32 (rows, num_classes) or float32 (rows, 1), by label
            mode; None where the manifest has no labels.
        weights: float32 (rows,). 0 for a row that must not count (padding, a masked bad
            image), otherwise the record's weight, 1 by default.
        positions: int64 (rows,), the records that the order put here.
        sources: int64 (rows,), the records whose pixels are here: `positions`, except where
            a bad image was replaced, and -1 where it was masked.
        sample_epochs: int64 (rows,), the epoch that each row's sample belongs to: `epoch`, but
            earlier ones at the head of a batch that `remainder="carry"` put together.
        turns: int64 (rows,), which time the record comes, as `BatchPlan` says. No two samples of
            a run share (sample epoch, position, turn), whatever the batches.
        epoch: the epoch that this batch belongs to.
        number: its number within that epoch, from 0.
        phase: how many samples lie before the epoch's batch 0; 0 unless the run was resumed
            with another global batch size.
    """

    images: np.ndarray
    labels: np.ndarray | None
    weights: np.ndarray
    positions: np.ndarray
    sources: np.ndarray
    sample_epochs: np.ndarray
    turns: np.ndarray
    epoch: int
    number: int
    phase: int = 0

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def failed(self) -> np.ndarray:
        """bool (rows,), True for a row that shows nothing because its image is bad."""
        failed: np.ndarray = self.sources < 0
        return failed

    def as_tuple(self, *, weights: bool = False) -> tuple[np.ndarray, ...]:
        """What Keras takes: (images, labels), or (images, labels, weights), or (images,)."""
        if self.labels is None:
            return (self.images,)
        if weights:
            return (self.images, self.labels, self.weights)
        return (self.images, self.labels)

    def __repr__(self) -> str:
        return (
            f"Batch(epoch={self.epoch}, number={self.number}, "
            f"images={self.images.dtype}{list(self.images.shape)})"
        )
