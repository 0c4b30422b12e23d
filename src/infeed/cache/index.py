"""`Index`: where each kept image lies, in about 50 bytes an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

# New keys wait in a dict until there are enough of them to be sorted in.
_MOST_PENDING: Final = 4096


@final
class Index:
    """Entries by key, in columns; an entry keeps its number for ever.

    Not safe for several threads, except for reading columns of an entry that was found.

    Attributes:
        segment: uint32 (entries,), the number that the caller has given the segment.
        row: uint32 (entries,), of the segment's table.
        offset: uint64 (entries,).
        length: uint32 (entries,); 0 for an entry that is gone.
        checksum: uint64 (entries,).
    """

    def __init__(self) -> None:
        self._count = 0
        self._there = 0
        self._hi, self._lo = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._sorted = np.empty(0, np.uint64)
        self._order = np.empty(0, np.uint32)
        self._pending: dict[bytes, int] = {}
        self.segment, self.row = np.empty(0, np.uint32), np.empty(0, np.uint32)
        self.offset, self.checksum = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self.length = np.empty(0, np.uint32)

    def __len__(self) -> int:
        """Entries that are there."""
        return self._there

    def add_table(
        self, segment: int, table: npt.NDArray[np.void], rows: npt.NDArray[np.int64]
    ) -> None:
        """Adds the entries of some rows of a segment's table."""
        if not len(rows):
            return
        first = self._grow(len(rows))
        span = slice(first, self._count)
        entries = table[rows]
        for column, name in (
            (self._hi, "hi"),
            (self._lo, "lo"),
            (self.offset, "offset"),
            (self.length, "length"),
            (self.checksum, "checksum"),
        ):
            column[span] = entries[name]
        self.row[span] = rows
        self.segment[span] = segment
        self._sort()

    def add(
        self,
        keys: Sequence[bytes],
        *,
        segment: int,
        rows: Sequence[int],
        offsets: Sequence[int],
        lengths: Sequence[int],
        checksums: Sequence[int],
    ) -> range:
        """Adds entries of one segment, and gives their numbers."""
        first = self._grow(len(keys))
        span = slice(first, self._count)
        halves = np.frombuffer(b"".join(keys), "<u8")
        self._hi[span], self._lo[span] = halves[::2], halves[1::2]
        self.segment[span], self.row[span] = segment, rows
        self.offset[span], self.length[span] = offsets, lengths
        self.checksum[span] = np.array(checksums, np.uint64)
        numbers = range(first, self._count)
        self._pending.update(zip(keys, numbers, strict=True))
        if len(self._pending) > max(_MOST_PENDING, self._count // 8):
            self._sort()
        return numbers

    def find(self, key: bytes) -> int:
        """The number of an entry of that key, the latest of several; -1 if there is none."""
        number = self._pending.get(key, -1)
        if number >= 0 and self.length[number]:
            return number
        if not len(self._sorted):
            return -1
        hi, lo = _halves(key)
        begin = end = int(self._sorted.searchsorted(np.uint64(hi)))
        while end < len(self._sorted) and int(self._sorted[end]) == hi:
            end += 1
        for each in reversed(self._order[begin:end].tolist()):
            if int(self._lo[each]) == lo and self.length[each]:
                return int(each)
        return -1

    def remove(self, number: int) -> None:
        """Forgets an entry."""
        if self.length[number]:
            self.length[number] = 0
            self._there -= 1
            halves = int(self._hi[number]), int(self._lo[number])
            if self._pending.get(b"".join(half.to_bytes(8, "little") for half in halves)) == number:
                # It may have stood before an earlier one.
                self._sort()

    def _grow(self, more: int) -> int:
        """Makes room for entries; the number of the first."""
        first, self._count = self._count, self._count + more
        self._there += more
        if self._count > len(self._hi):
            size = max(self._count, len(self._hi) + len(self._hi) // 4, 1024)
            for name in ("_hi", "_lo", "segment", "row", "offset", "checksum", "length"):
                old = getattr(self, name)
                new = np.zeros(size, old.dtype)
                new[:first] = old[:first]
                setattr(self, name, new)
        return first

    def _sort(self) -> None:
        keys = self._hi[: self._count]
        # Stable, so that of two entries with the same key the later one comes last.
        self._order = np.argsort(keys, kind="stable").astype(np.uint32)
        self._sorted = keys[self._order]
        self._pending.clear()


def _halves(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
