"""`SegmentWriter`: the one writer of a segment."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, final

import numpy as np
import numpy.typing as npt

from infeed.cache.format import (
    ENTRY_BYTES,
    HEADER_BYTES,
    SUFFIX,
    FormatError,
    Header,
    free_rows,
    pack_entry,
)
from infeed.cache.lock import try_lock, unlock
from infeed.cache.segment import Segment
from infeed.whole_file import partial_of

# A table row for each of so many bytes, where images differ in size.
_BYTES_PER_ROW: Final = 2048
_PAGE: Final = 4096

_NO_FALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Slot(NamedTuple):
    """A place in a segment that was set aside for one image."""

    row: int
    offset: int
    length: int


@final
class SegmentWriter:
    """Puts images into a segment that no other process writes to.

    The kernel's lock on the file says so, and ends with the process. The order of writes is
    image, then entry; so what a kill leaves behind is an image without an entry, which nobody
    reads. What a power failure leaves is found by the checksums.

    Safe for several threads: places are given out under a lock, and written without it.

    Args:
        segment: open for writing, and locked. It stays open for reading when the writer is
            closed.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        header = segment.header
        table = segment.table()
        # Of its own, so that the segment may be closed while the last image is being written.
        self._descriptor = os.dup(segment.descriptor)
        self._lock = threading.Lock()
        self._users = 0
        self._is_closing = False
        self._rows = deque(free_rows(table).tolist())
        ends = table["offset"].astype(np.int64) + table["length"]
        # Entries that are damaged may say anything: only what lies in the file is believed.
        inside = ends[ends <= header.file_bytes]
        self._end = max(header.data_at, int(inside.max(initial=0)))
        if not header.slot_bytes and self._rows:
            # In order, so that rows that were given back in the middle stay unused.
            last = int(np.flatnonzero(table["length"]).max(initial=-1))
            self._rows = deque(row for row in self._rows if row > last)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        store_id: bytes,
        slot_bytes: int,
        size: int,
        description: Mapping[str, Any],
    ) -> Self:
        """A new segment, with its space reserved; under the lock of the cache folder.

        Args:
            folder: of the store; must exist.
            store_id: of the store.
            slot_bytes: of each image, or 0.
            size: of the file, in bytes, at most.
            description: of the store.

        Raises:
            OSError: no space, no permission, no such folder, too many open files. Nothing is left
                of the file.
        """
        segment_id = secrets.token_bytes(16)
        # Images begin on a page of their own, so that nearly one may be left empty before it.
        inside = max(0, size - HEADER_BYTES - _PAGE)
        if slot_bytes:
            entries = inside // (slot_bytes + ENTRY_BYTES)
        else:
            # Whole pages of rows: what a page has left would be lost, and tiny images need many.
            table_bytes = inside // _BYTES_PER_ROW * ENTRY_BYTES
            entries = max(1, -(-table_bytes // _PAGE)) * _PAGE // ENTRY_BYTES
        data_at = -(-(HEADER_BYTES + entries * ENTRY_BYTES) // _PAGE) * _PAGE
        if slot_bytes:
            size = data_at + entries * slot_bytes
        header = Header(segment_id, store_id, entries, slot_bytes, data_at, size, description)
        path = folder / f"{segment_id.hex()}{SUFFIX}"
        # Under its own name only when it has a header: nobody finds half a one, nor what a kill
        # leaves behind.
        partial = partial_of(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o666)
        try:
            with contextlib.suppress(OSError):  # without locks nobody takes files over either
                try_lock(descriptor)
            reserve(descriptor, 0, size)
            _write(descriptor, [header.pack()], 0, HEADER_BYTES)
            partial.rename(path)
            return cls(Segment(path, descriptor, header))
        except BaseException:
            os.close(descriptor)
            for each in (partial, path):
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    each.unlink(missing_ok=True)
            raise

    @classmethod
    def take_over(cls, path: Path, *, store_id: bytes) -> Self | None:
        """Goes on with a segment that another process has left; None where that cannot be.

        Under the lock of the cache folder.

        Raises:
            OSError: it cannot be opened, or there is no space.
        """
        try:
            segment = Segment.open(path, writable=True)
        except FormatError:
            return None
        with contextlib.ExitStack() as closing:
            closing.callback(segment.close)
            try:
                segment.check_store(store_id)
            except FormatError:
                return None
            if not try_lock(segment.descriptor):
                return None
            # Its last writer may have removed it a moment ago.
            if not os.path.samestat(os.fstat(segment.descriptor), path.stat()):
                return None
            writer = cls(segment)
            closing.callback(writer.close)
            if not writer.has_room(1):
                return None
            reserve(segment.descriptor, 0, segment.header.file_bytes)
            closing.pop_all()
        return writer

    def has_room(self, length: int) -> bool:
        """Whether an image of so many bytes fits; for fixed slots the length does not matter."""
        header = self.segment.header
        if not self._rows:
            return False
        return bool(header.slot_bytes) or self._end + length <= header.file_bytes

    def set_aside(self, lengths: Sequence[int]) -> list[Slot]:
        """Places for the first of these images, as many as fit; `put` must follow.

        While any are set aside and not put, `close` leaves the file open.
        """
        slots: list[Slot] = []
        header = self.segment.header
        with self._lock:
            if self._is_closing:
                return slots
            for length in lengths:
                if not self.has_room(length):
                    break
                row = self._rows.popleft()
                if header.slot_bytes:
                    offset = header.data_at + row * header.slot_bytes
                else:
                    offset = self._end
                self._end = max(self._end, offset + length)
                slots.append(Slot(row, offset, length))
            self._users += bool(slots)
        return slots

    def take_back(self, row: int) -> None:
        """Uses a row again whose entry was erased, where all images have the same size."""
        if self.segment.header.slot_bytes:
            with self._lock:
                self._rows.append(row)

    def put(
        self,
        slots: Sequence[Slot],
        keys: Sequence[bytes],
        images: Sequence[npt.NDArray[np.uint8]],
        checksums: Sequence[int],
    ) -> None:
        """Writes images, and then their entries.

        Args:
            slots: what `set_aside` gave.
            keys: one for each.
            images: their bytes.
            checksums: of these.

        Raises:
            OSError: the system refused; none of the images is there then.
        """
        descriptor, seed = self._descriptor, self.segment.header.seed
        try:
            for first, end in _runs(slots):
                part = slots[first:end]
                size = sum(slot.length for slot in part)
                _write(descriptor, list(images[first:end]), part[0].offset, size)
            for first, end in _runs(slots, by_row=True):
                entries = b"".join(
                    pack_entry(key, slot.offset, slot.length, checksum, seed)
                    for key, slot, checksum in zip(
                        keys[first:end], slots[first:end], checksums[first:end], strict=True
                    )
                )
                at = HEADER_BYTES + slots[first].row * ENTRY_BYTES
                _write(descriptor, [entries], at, len(entries))
        finally:
            with self._lock:
                self._users -= 1
                is_last = self._is_closing and not self._users
            if is_last:
                self._finish()

    def close(self) -> None:
        """Gives back what is reserved and not used, and lets others write.

        Images that other threads are putting are waited for by the last of them.
        """
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
            is_last = not self._users
        if is_last:
            self._finish()

    def abandon(self) -> None:
        """Closes it in a forked process, which must neither write nor unlock."""
        self._is_closing = True
        os.close(self._descriptor)

    def _finish(self) -> None:
        # A disk that fails here has lost nothing but some reserved space.
        with contextlib.suppress(OSError):
            if self._end <= self.segment.header.data_at:
                self.segment.path.unlink(missing_ok=True)
            else:
                os.ftruncate(self._descriptor, self._end)
        with contextlib.suppress(OSError):
            unlock(self._descriptor)
        os.close(self._descriptor)


def reserve(descriptor: int, begin: int, end: int) -> None:
    """Takes disk space for a part of a file, so that writing into it cannot lack any.

    Raises:
        OSError: there is none.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, begin, end - begin)
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
        else:
            return
    # This file system cannot reserve: what is not there yet is written once as zeros.
    size = os.fstat(descriptor).st_size
    zeros = bytes(1 << 20)
    while size < end:
        count = os.pwrite(descriptor, zeros[: end - size], size)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        size += count


def _write(descriptor: int, buffers: list[Any], offset: int, size: int) -> None:
    written = os.pwritev(descriptor, buffers, offset)
    if written != size:
        # A disk that becomes full writes a part, and says why only when asked for the rest.
        raise OSError(errno.ENOSPC, f"only {written} of {size} bytes could be written")


def _runs(slots: Sequence[Slot], *, by_row: bool = False) -> list[tuple[int, int]]:
    """(first, end) of the slots that lie one behind the other, in the file or in the table."""
    cuts = [
        number
        for number, (a, b) in enumerate(pairwise(slots), 1)
        if (b.row != a.row + 1 if by_row else b.offset != a.offset + a.length)
    ]
    return list(pairwise([0, *cuts, len(slots)])) if slots else []
