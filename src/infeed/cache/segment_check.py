"""`SegmentCheck`: every checksum of one segment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final, final

import numpy as np
import numpy.typing as npt
import xxhash

from infeed.cache.format import free_rows, valid_rows
from infeed.cache.segment import Segment, erase_row

# Read at once, of images and of tables: memory stays small whatever the segments are.
_BLOCK_BYTES: Final = 4 * 1024**2
_BLOCK_ROWS: Final = 4096

_TOLD_EVERY: Final = 64  # images


@final
class SegmentCheck:
    """Goes through one segment, in the order of its bytes, while others may write to it.

    Args:
        segment: open.
        is_repairing: give back the entries of what is damaged.

    Attributes:
        images: that are what was stored.
        bytes: of these.
        damaged: images that are not, or whose entry is not.
        repaired: of these, how many entries were given back.
        is_truncated: whether the file is shorter than what was stored in it.
    """

    def __init__(self, segment: Segment, *, is_repairing: bool) -> None:
        self.images = 0
        self.bytes = 0
        self.damaged = 0
        self.repaired = 0
        self._segment = segment
        self._is_repairing = is_repairing
        self._block = memoryview(bytearray(_BLOCK_BYTES))
        self._begin = self._end = 0  # what of the file is in the block
        self.is_truncated = self._file_bytes() < segment.header.data_at

    def run(self, tell: Callable[[float], None]) -> None:
        """Counts what is right and what is not.

        Args:
            tell: told how much is done, 0 to 1.

        Raises:
            OSError: the table cannot be read.
        """
        entries = self._segment.header.entries
        for first in range(0, entries, _BLOCK_ROWS):
            table = self._segment.table(first, min(first + _BLOCK_ROWS, entries))
            right = self._right_rows(table)
            empty = free_rows(table)
            for number, row in enumerate(right.tolist()):
                self._check_image(first + row, table[row])
                if number % _TOLD_EVERY == 0:
                    tell((first + number) / entries)
            # Last: one that was just being written is whole by now.
            for row in np.setdiff1d(np.arange(len(table)), [*right, *empty]).tolist():
                self._count_damage(first + row, table[row].tobytes())

    def _right_rows(self, table: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
        """The rows with an entry that counts, in the order of their images."""
        header = self._segment.header
        rows = valid_rows(table, header.seed)
        if header.slot_bytes:
            rows = rows[table["length"][rows] == header.slot_bytes]
        return rows[np.argsort(table["offset"][rows], kind="stable")]

    def _check_image(self, row: int, entry: np.void) -> None:
        offset, length, wanted = (int(entry[name]) for name in ("offset", "length", "checksum"))
        # Twice: what is in the block may be older than the entry.
        if self._sum(offset, length) != wanted:
            self._begin = self._end = 0
            if self._sum(offset, length) != wanted:
                self._count_damage(row, entry.tobytes(), end=offset + length)
                return
        self.images += 1
        self.bytes += length

    def _count_damage(self, row: int, was: bytes, *, end: int = 0) -> None:
        """Counts a row whose entry or image is not right, unless it has changed meanwhile."""
        if self._segment.row(row) != was:
            return
        self.damaged += 1
        self.is_truncated |= end > self._file_bytes()
        if self._is_repairing:
            with contextlib.suppress(OSError):  # read-only, or gone
                self.repaired += erase_row(self._segment, row, was)

    def _sum(self, offset: int, length: int) -> int | None:
        """The checksum of a part of the file; None where it cannot be read."""
        try:
            if length > _BLOCK_BYTES:
                return self._sum_in_parts(offset, length)
            if not self._begin <= offset <= offset + length <= self._end:
                self._read(offset, _BLOCK_BYTES)
        except OSError:
            try:
                # What is unreadable may lie behind the image.
                self._read(offset, min(length, _BLOCK_BYTES))
            except OSError:
                return None
        at = offset - self._begin
        if length > self._end - offset:
            return None
        return xxhash.xxh3_64_intdigest(self._block[at : at + length])

    def _sum_in_parts(self, offset: int, length: int) -> int | None:
        digest = xxhash.xxh3_64()
        end = offset + length
        while offset < end:
            self._read(offset, min(end - offset, _BLOCK_BYTES))
            if self._begin == self._end:
                return None
            digest.update(self._block[: self._end - self._begin])
            offset = self._end
        return digest.intdigest()

    def _read(self, offset: int, size: int) -> None:
        """Fills the block from `offset` on, as far as the file goes."""
        self._begin = self._end = offset
        while self._end - offset < size and self._end < self._file_bytes():
            part = self._block[self._end - offset : size]
            count = os.preadv(self._segment.descriptor, [part], self._end)
            if not count:
                break
            self._end += count

    def _file_bytes(self) -> int:
        return os.fstat(self._segment.descriptor).st_size
