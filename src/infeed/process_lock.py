"""`ProcessLock`: a lock that no fork leaves locked."""

from __future__ import annotations

import os
import threading
from typing import final


@final
class ProcessLock:
    """A lock of which each process has its own.

    A fork brings along memory and a single thread. A lock that another thread held at that moment
    would be held for ever in the child.

    >>> lock = ProcessLock()
    >>> with lock.here():
    ...     lock.here().locked()
    True
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.Lock()}

    def here(self) -> threading.Lock:
        """That of this process, for a `with` block.

        The block takes it from here, since a Ctrl-C cannot come between `with` and a lock as it is.
        """
        process = os.getpid()
        # Two threads of a child may come at once: `setdefault` gives both the same.
        return self._locks.get(process) or self._locks.setdefault(process, threading.Lock())
