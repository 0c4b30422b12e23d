"""Locks that the kernel gives back when their process dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

LOCK_FILE: Final = "lock"
_PAUSE_SECONDS: Final = 0.005
_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})


def try_lock(descriptor: int) -> bool:
    """Whether this open file is locked for us now; False if another process has it.

    A file system without locks gives none: whoever needs one does without.

    Raises:
        OSError: this file system cannot lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def unlock(descriptor: int) -> None:
    """Gives a lock back.

    Raises:
        OSError: this file system cannot lock.
    """
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def folder_lock(folder: Path, *, seconds: float) -> Iterator[bool]:
    """Holds the lock of a cache folder; gives False where it is not to be had in time.

    It is held for moments: while a segment is made, taken over or removed. A process that was
    stopped while it holds it must not stop the others: they do without, for now.

    Args:
        folder: of the cache; must exist.
        seconds: how long to try.

    Raises:
        OSError: the lock file cannot be made, or this file system cannot lock.
    """
    until = time.monotonic() + seconds
    while True:
        path = folder / LOCK_FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        try:
            while not (is_held := try_lock(descriptor)) and time.monotonic() < until:
                time.sleep(_PAUSE_SECONDS)
            if not is_held or _is_file_of(path, descriptor):
                yield is_held
                return
        finally:
            # Said, since a process that was forked off meanwhile has the file open, too.
            with contextlib.suppress(OSError):
                unlock(descriptor)
            os.close(descriptor)


def _is_file_of(path: Path, descriptor: int) -> bool:
    """Whether the open file still has its name: clearing a cache takes that away."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
