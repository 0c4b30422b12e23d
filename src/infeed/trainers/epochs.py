"""The epochs that a trainer counts, all of one length, laid over the order of a sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from infeed.order import Cursor, Sampler


@final
@dataclass(frozen=True, slots=True)
class Epochs:
    """A trainer's epochs over `records` records: each has `steps` batches.

    Keras asks for the length once and keeps the answer for all epochs of a `fit`. They are the
    sampler's epochs, except with `remainder="carry"`, where those differ by one batch: then a
    trainer's epochs are equal cuts of the one stream of batches, which loses nothing, and drift
    by less than a batch an epoch against the sampler's.

    Raises:
        ValueError: an epoch has no batch.

    >>> epochs = Epochs(Sampler(batch_size=4), records=22)
    >>> epochs.steps, epochs.rest(Cursor(1, 8)), epochs.next_begin(Cursor(1, 8))
    (6, 4, Cursor(epoch=2, sample=0))
    """

    sampler: Sampler
    records: int

    def __post_init__(self) -> None:
        sampler = self.sampler
        if not self.steps:
            raise ValueError(
                f"remainder={sampler.remainder!r} with batches of {sampler.batch_size} on "
                f"{sampler.shard.count} shard(s) leaves epochs of {self.records} records without "
                "a batch, which Keras cannot train. Pass a smaller batch_size or remainder='keep'."
            )

    @property
    def steps(self) -> int:
        """The batches of a whole epoch."""
        if self._is_stream:
            return self.records // self.sampler.global_batch_size
        return self.sampler.steps(self.records)

    def begin(self, epoch: int, *, phase: int = 0) -> Cursor:
        """Where an epoch begins; `phase` is that of the stream, with "carry"."""
        if not self._is_stream:
            return Cursor(epoch)
        sample = phase + epoch * self.steps * self.sampler.global_batch_size
        return Cursor(*divmod(sample, self.records))

    def number(self, cursor: Cursor) -> int:
        """Which epoch the batch at the cursor belongs to."""
        if self._is_stream:
            return self._step(cursor)[0] // self.steps
        return self.sampler.place(self.records, cursor).epoch

    def rest(self, cursor: Cursor) -> int:
        """How many batches of that epoch are left, the one at the cursor included."""
        if self._is_stream:
            return self.steps - self._step(cursor)[0] % self.steps
        epoch, number, phase = self.sampler.place(self.records, cursor)
        return self.sampler.steps(self.records, epoch, phase=phase) - number

    def next_begin(self, cursor: Cursor) -> Cursor:
        """The first beginning of an epoch at the cursor or after it."""
        if self._is_stream:
            step, phase = self._step(cursor)
            return self.begin(-(-step // self.steps), phase=phase)
        epoch, number, phase = self.sampler.place(self.records, cursor)
        return Cursor(epoch + bool(number or phase))

    def phase(self, cursor: Cursor) -> int:
        """Where the batches are cut, at the cursor."""
        return self.sampler.place(self.records, cursor).phase

    @property
    def _is_stream(self) -> bool:
        return self.sampler.remainder == "carry"

    def _step(self, cursor: Cursor) -> tuple[int, int]:
        """(batches before the cursor since the beginning of the stream, phase)."""
        sample = cursor.epoch * self.records + cursor.sample
        return divmod(sample, self.sampler.global_batch_size)
