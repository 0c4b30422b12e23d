"""`Segments`: the segments of a store that are open, and what is in them."""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from infeed.cache.folder import segment_paths
from infeed.cache.format import KEY_BYTES, FormatError, valid_rows
from infeed.cache.index import Index
from infeed.cache.segment import Segment
from infeed.cache.writer import Slot

if sys.platform != "win32":
    import resource

# How often a process that misses looks at everything that others may have stored.
_REFRESH_SECONDS: Final = 2.0

# Of a segment that another process writes to, so many rows behind the last known are looked at
# before anything is decoded or stored.
_GLANCED_ROWS: Final = 64

# Of the files that this process may open: the sources need some, too.
_SHARE_OF_FILES: Final = 0.25


@final
class Segments:
    """The segments of one store, by number, with the index of their images.

    Not safe for several threads, except for reading from a segment that has a number.

    Args:
        folder: of the store.
        store_id: of the store.
        slot_bytes: of each image, or 0 where they differ.
        memory: bytes that could keep files in memory; None: not known.
        say: told what went wrong: (what it is about, text).

    Attributes:
        index: where each image lies.
        is_larger_than_memory: whether they could not all be kept in memory.
    """

    def __init__(
        self,
        folder: Path,
        store_id: bytes,
        *,
        slot_bytes: int,
        memory: int | None,
        say: Callable[[str, str], None],
    ) -> None:
        self._folder = folder
        self._store_id = store_id
        self._slot_bytes = slot_bytes
        self._memory = memory
        self._say = say
        self._open_segments: list[Segment] = []
        self._seen: list[npt.NDArray[np.bool_]] = []  # the rows of each that are in the index
        self._numbers: dict[bytes, int] = {}  # of each, by its id
        self._left_out: set[Path] = set()
        self._most = _most_files()
        self._looked = 0.0
        self._changed = 0  # when the folder was, the last time that it was looked at
        self.index = Index()
        self.is_larger_than_memory = False

    def __getitem__(self, number: int) -> Segment:
        return self._open_segments[number]

    def look_if_due(self) -> None:
        """`look`, if the last time is two seconds ago."""
        if time.monotonic() - self._looked > _REFRESH_SECONDS:
            try:
                self.look()
            except OSError as error:
                self._say("look", f"{self._folder} cannot be listed: {error.strerror}")

    def look(self) -> None:
        """Reads what is new in the folder.

        Raises:
            OSError: it cannot be listed.
        """
        self._looked = time.monotonic()
        for path in segment_paths(self._folder):
            if path in self._left_out:
                continue
            number = self._numbers.get(_id_in(path.stem), -1)
            if number < 0:
                number = self._open(path)
            if number >= 0 and not self._seen[number].all():
                self._add_rows(number)

    def glance(self, is_ours: Callable[[Segment], bool]) -> bool:
        """Sees what others have stored in the last moments; whether there was anything.

        Processes that go through the same images in the same order would else all store each.

        Args:
            is_ours: whether it is this process that fills a segment.
        """
        before = len(self.index)
        with contextlib.suppress(OSError):  # the next look says what is wrong
            changed = self._folder.stat().st_mtime_ns
            if changed != self._changed:
                self._changed = changed
                self.look()
            for number, segment in enumerate(self._open_segments):
                if not self._seen[number].all() and not is_ours(segment):
                    self._add_rows(number, _GLANCED_ROWS)
        return len(self.index) > before

    def number(self, segment: Segment) -> int:
        """The number of a segment, which gets one if it is new, and is closed if it is not."""
        segment_id = segment.header.segment_id
        number = self._numbers.setdefault(segment_id, len(self._open_segments))
        if number == len(self._open_segments):
            self._open_segments.append(segment)
            self._seen.append(np.zeros(segment.header.entries, bool))
            size = sum(each.header.file_bytes for each in self._open_segments)
            self.is_larger_than_memory = self._memory is not None and size > self._memory
        elif self._open_segments[number] is not segment:
            segment.close()  # open already, for reading
        return number

    def add(
        self, number: int, slots: Sequence[Slot], keys: Sequence[bytes], checksums: Sequence[int]
    ) -> Sequence[int]:
        """Enters images that were put into a segment; the numbers of their entries."""
        rows, offsets, lengths = zip(*slots, strict=True)
        if self._seen[number][rows[0]]:
            # A look at the folder was faster than this.
            entries = [self.index.find(key) for key in keys]
            if min(entries) >= 0:
                return entries
        self._seen[number][list(rows)] = True
        return self.index.add(
            keys,
            segment=number,
            rows=rows,
            offsets=offsets,
            lengths=lengths,
            checksums=checksums,
        )

    def free(self, number: int, row: int) -> None:
        """Notes that a row of a segment's table was given back."""
        self._seen[number][row] = False

    def close(self) -> None:
        """Closes all files."""
        for segment in self._open_segments:
            segment.close()

    def _open(self, path: Path) -> int:
        """The number of a segment that is new; -1 where it is none of ours."""
        if len(self._open_segments) >= self._most:
            return self._leave_out(path, OSError(errno.EMFILE, "there are too many of them"))
        try:
            segment = Segment.open(path)
        except FileNotFoundError:
            return -1  # removed meanwhile
        except (FormatError, OSError) as error:
            if isinstance(error, FormatError) and error.is_empty:
                return -1  # what a power failure leaves; whoever stores next removes it
            return self._leave_out(path, error)
        try:
            segment.check_store(self._store_id)
        except FormatError as error:
            segment.close()
            return self._leave_out(path, error)
        return self.number(segment)

    def _leave_out(self, path: Path, error: Exception) -> int:
        self._left_out.add(path)
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._say("segment", f"{path} is left out of the cache: {text}")
        return -1

    def _add_rows(self, number: int, ahead: int | None = None) -> None:
        """Adds the entries of a segment that are new: all, or of so many rows behind the last."""
        segment, seen = self._open_segments[number], self._seen[number]
        first = 0
        if ahead is not None and seen.any():
            first = len(seen) - int(np.argmax(seen[::-1]))
        end = len(seen) if ahead is None else min(first + ahead, len(seen))
        try:
            table = segment.table(first, end)
        except OSError as error:
            self._say("segment", f"{segment.path} cannot be read: {error.strerror}")
            return
        table["length"][seen[first:end]] = 0
        rows = valid_rows(table, segment.header.seed)
        if self._slot_bytes:
            rows = rows[table["length"][rows] == self._slot_bytes]
        seen[first + rows] = True
        if ahead is None:
            self.index.add_table(number, table, rows)
        elif len(rows):
            entries = table[rows]
            self.index.add(
                [entry.tobytes()[:KEY_BYTES] for entry in entries],
                segment=number,
                rows=(first + rows).tolist(),
                offsets=entries["offset"].tolist(),
                lengths=entries["length"].tolist(),
                checksums=entries["checksum"].tolist(),
            )


def _id_in(name: str) -> bytes:
    """The id in the name of a segment; empty where it is no such name."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""


def _most_files() -> int:
    """How many files this may have open."""
    if sys.platform == "win32":
        return 0
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit in (resource.RLIM_INFINITY, -1) else int(limit * _SHARE_OF_FILES)
