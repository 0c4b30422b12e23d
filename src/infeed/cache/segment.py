"""`Segment`: a file of images, read by any number of processes and written by one at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self, final

import numpy as np
import numpy.typing as npt

from infeed.cache.format import (
    ENTRY_BYTES,
    ENTRY_TYPE,
    HEADER_BYTES,
    FormatError,
    Header,
)


@final
class Segment:
    """A segment open for reading.

    Only `pread` touches the file, never a memory map: when somebody cuts the file short, a read
    comes back short, where a map would kill the process.

    Attributes:
        path: where the file was when it was opened; what is open stays the same file.
        header: its header.
    """

    def __init__(self, path: Path, descriptor: int, header: Header) -> None:
        self.path = path
        self.header = header
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> Self:
        """Opens the file and reads its header.

        Raises:
            FormatError: it is no segment of this version.
            OSError: it cannot be opened or read.
        """
        flags = os.O_RDWR if writable else os.O_RDONLY
        # O_NONBLOCK: a pipe of that name would be waited for; to files it makes no difference.
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        try:
            header = Header.unpack(os.pread(descriptor, HEADER_BYTES, 0))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, header)

    def check_store(self, store_id: bytes) -> None:
        """Refuses a file that was put into the wrong folder.

        Raises:
            FormatError: it holds the images of another store.
        """
        if self.header.store_id != store_id:
            raise FormatError("it holds images of another recipe, decoder or encoding")
        # What is written to a copy would be looked for in the other file.
        if self.path.stem != self.header.segment_id.hex():
            raise FormatError("it is a copy of another segment, under a wrong name")

    def table(self, first: int = 0, end: int | None = None) -> npt.NDArray[np.void]:
        """Rows of the table, as `ENTRY_TYPE`, by default all; zeros where the file is too short.

        Args:
            first: the first of the rows.
            end: behind the last one; None: to the end of the table.

        Raises:
            OSError: it cannot be read.
        """
        size = ((self.header.entries if end is None else end) - first) * ENTRY_BYTES
        begin = HEADER_BYTES + first * ENTRY_BYTES
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            count = os.preadv(self.descriptor, [view[done:]], begin + done)
            if not count:
                break
            done += count
        # A row that was cut through must not look like one that was half written.
        data[done - done % ENTRY_BYTES : done] = bytes(done % ENTRY_BYTES)
        return np.frombuffer(data, ENTRY_TYPE)

    def row(self, number: int) -> bytes:
        """The 48 bytes of a table row, fewer where the file is too short.

        Raises:
            OSError: it cannot be read.
        """
        return os.pread(self.descriptor, ENTRY_BYTES, HEADER_BYTES + number * ENTRY_BYTES)

    def read_into(self, buffers: list[npt.NDArray[np.uint8]], offset: int, size: int) -> bool:
        """Fills the buffers from `offset` on, by one system call; False if the file is too short.

        Args:
            buffers: C-contiguous; together of `size` bytes.
            offset: in the file.
            size: in bytes.

        Raises:
            OSError: it cannot be read.
        """
        return os.preadv(self.descriptor, buffers, offset) == size  # type: ignore[arg-type]  # arrays

    def announce(self, offset: int, size: int) -> None:
        """Has the kernel begin to read what will be asked for in a moment, if it can do that.

        Args:
            offset: in the file.
            size: in bytes.
        """
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # whoever reads it then learns what is wrong
                os.posix_fadvise(self.descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Closes the file. May be called more than once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def erase(segment: Segment, row: int, checksum: int) -> bool:
    """Gives the table row of an image back that is not right, if it still says what was read.

    Args:
        segment: where it is.
        row: of its table.
        checksum: of the image, as the entry had it.

    Returns:
        Whether it was given back.

    Raises:
        OSError: the file cannot be written.
    """
    was = segment.row(row)
    if len(was) == ENTRY_BYTES and np.frombuffer(was, ENTRY_TYPE)["checksum"][0] == checksum:
        return erase_row(segment, row, was)
    return False


def erase_row(segment: Segment, row: int, was: bytes) -> bool:
    """Gives a table row back, if these are still its bytes; whether it was.

    Raises:
        OSError: the file cannot be written.
    """
    with open_again(segment) as descriptor:
        if descriptor is None or segment.row(row) != was:
            return False
        os.pwrite(descriptor, bytes(ENTRY_BYTES), HEADER_BYTES + row * ENTRY_BYTES)
        return True


@contextlib.contextmanager
def open_again(segment: Segment) -> Iterator[int | None]:
    """The segment's file open for writing; None where another file has taken its name.

    Raises:
        OSError: it cannot be written, or is gone.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(segment.path, flags)
    try:
        yield descriptor if os.path.sameopenfile(descriptor, segment.descriptor) else None
    finally:
        os.close(descriptor)
