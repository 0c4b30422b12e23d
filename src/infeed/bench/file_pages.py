"""What of a set's files is in memory, and how it is given up."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

# Enough for a share; each costs an open, an mmap and a question.
SAMPLE: Final = 256

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def give_up(paths: Iterable[str | bytes], *, check: Callable[[], object] = lambda: None) -> None:
    """Asks the system to forget what it holds of these files in memory.

    Needs no rights but to read them. What was written and is not on the disk yet is brought there
    first. A file system that lives in memory forgets nothing, and pages that a program has mapped
    stay: `share_in_memory` tells. Files that cannot be opened are left out.

    Args:
        paths: the files.
        check: called for each; may raise, to stop.
    """
    if not hasattr(os, "posix_fadvise"):  # macOS, Windows
        return
    for path in paths:
        check()
        with contextlib.suppress(OSError):
            descriptor = os.open(path, _FLAGS)
            try:
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def share_in_memory(paths: Sequence[str | bytes]) -> float | None:
    """0..1: the share of these files' pages that the system holds in memory.

    Of up to 256 files, evenly over all. Asks by `mincore`, which reads nothing: a read that must
    not wait would have the page fetched.

    Returns:
        None where it cannot be told: on another system than Linux, or where the files belong to
        somebody else, about whose pages Linux says nothing.
    """
    mincore = _mincore()
    if mincore is None or not paths:
        return None
    step = max(1, len(paths) // SAMPLE)
    held = pages = 0
    for path in paths[::step][:SAMPLE]:
        found = _pages_in_memory(path, mincore)
        if found is not None:
            held += found[0]
            pages += found[1]
    return held / pages if pages else None


def _mincore() -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).mincore
    except (AttributeError, OSError, TypeError):  # no such call, or no C library to ask
        return None
    return function if hasattr(os, "posix_fadvise") else None


def _pages_in_memory(path: str | bytes, mincore: Callable[..., int]) -> tuple[int, int] | None:
    """(pages held, pages), or None for a file that tells nothing."""
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        # To others it says that all is there, lest they learn what somebody has read.
        is_ours = os.geteuid() in (0, status.st_uid) or os.access(path, os.W_OK)
        if not is_ours or not status.st_size:
            return None
        pages = -(-status.st_size // mmap.PAGESIZE)
        answer = np.zeros(pages, np.uint8)
        with mmap.mmap(descriptor, status.st_size, prot=mmap.PROT_READ) as mapped:
            view = np.frombuffer(mapped, np.uint8)
            failed = mincore(
                ctypes.c_void_p(view.ctypes.data),
                ctypes.c_size_t(status.st_size),
                ctypes.c_void_p(answer.ctypes.data),
            )
            del view  # or the mapping could not be closed
        return None if failed else (int((answer & 1).sum()), pages)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
