"""Where the epochs of a job are cut into global batches: arithmetic on five integers.

Words: n samples an epoch; `size` samples a global batch. `phase`, in 0..size-1, is the number
of samples that lie before the first cut: 0, except after a resume with another global batch
size. Batch `number` of an epoch covers its samples phase + number * size onwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final, get_args

from infeed.order.cursor import Cursor, Place

Remainder = Literal["keep", "drop", "pad", "carry"]

REMAINDERS: Final[tuple[str, ...]] = get_args(Remainder)


@final
@dataclass(frozen=True, slots=True)
class Cuts:
    """The global batches of epochs of `n` samples, `size` a batch.

    With "carry" the epochs are one stream, in which sample s is sample s % n of epoch s // n,
    and the phase is the stream's. With all others it is that of one epoch; the epochs after it
    are cut from their beginning again.

    Epochs, numbers and phases are those that `Sampler` has checked.
    """

    n: int
    size: int
    remainder: Remainder

    def steps(self, epoch: int, phase: int) -> int:
        """The number of batches of an epoch; those before `phase` are none of them."""
        if self.remainder == "carry":
            return self._ended(epoch + 1, phase) - self._ended(epoch, phase)
        left = max(0, self.n - phase)
        return left // self.size if self.remainder == "drop" else -(-left // self.size)

    def begin(self, epoch: int, number: int, phase: int) -> tuple[int, int]:
        """(epoch, sample) of the first sample of a batch; the epoch may be an earlier one."""
        if self.remainder == "carry":
            if not self.n:
                raise ValueError(f"0 records make no batch of {self.size}")
            # Python's ints: the place in the stream outgrows 64 bits.
            return divmod(phase + (self._ended(epoch, phase) + number) * self.size, self.n)
        return epoch, phase + number * self.size

    def place(self, cursor: Cursor) -> Place:
        """The batch that begins at the cursor."""
        cursor = self.settled(cursor)
        if self.remainder == "carry":
            batch, phase = divmod(cursor.epoch * self.n + cursor.sample, self.size)
            epoch = (phase + (batch + 1) * self.size - 1) // self.n
            return Place(epoch, batch - self._ended(epoch, phase), phase)
        number, phase = divmod(cursor.sample, self.size)
        return Place(cursor.epoch, number, phase)

    def advance(self, cursor: Cursor, batches: int) -> Cursor:
        """The place after the next `batches` batches."""
        cursor = self.settled(cursor)
        if self.remainder == "carry":
            return self.settled(Cursor(cursor.epoch, cursor.sample + batches * self.size))
        epoch, number, phase = self.place(cursor)
        left = self.steps(epoch, phase) - number
        if batches < left:
            return Cursor(epoch, cursor.sample + batches * self.size)
        epochs, number = divmod(batches - left, self.steps(epoch + 1, 0))
        return Cursor(epoch + 1 + epochs, number * self.size)

    def settled(self, cursor: Cursor) -> Cursor:
        """The one cursor of all that mean the same place: the next batch begins at it.

        Raises:
            ValueError: no epoch has a batch, or the cursor is beyond the end of an epoch.
        """
        if not self.n or (self.remainder == "drop" and self.size > self.n):
            raise ValueError(f"{self.n} records make no batch of {self.size}")
        if self.remainder == "carry":
            epochs, sample = divmod(cursor.sample, self.n)
            return Cursor(cursor.epoch + epochs, sample)
        if cursor.sample > self.n:
            raise ValueError(
                f"{cursor} lies beyond the {self.n} samples of an epoch: it was saved for another "
                "manifest"
            )
        least = self.size if self.remainder == "drop" else 1
        if self.n - cursor.sample < least:
            return Cursor(cursor.epoch + 1, 0)
        return cursor

    def _ended(self, epoch: int, phase: int) -> int:
        """How many batches of the stream end before the epoch begins."""
        return max(0, (epoch * self.n - phase) // self.size)
