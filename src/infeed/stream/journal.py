"""`Journal`: a line for each bad image, on disk as soon as it is met."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from infeed.printable import printable
from infeed.process_lock import ProcessLock

if TYPE_CHECKING:
    from infeed.stream.quarantine import BadImage

logger = logging.getLogger(__name__)

_LOCK_SECONDS: Final = 0.2
_PAUSE_SECONDS: Final = 0.005


@final
class Journal:
    """A file of JSON Lines, to which one line is added for each bad image.

    A line holds `position`, `uri`, `reason` and `message`, as in `BadImage`, and `when`, in UTC
    (ISO 8601). It is written at once by one call, so that several processes may share the file;
    the file is open only for that moment. There is no file before there is a bad image. An image
    that the file names already, with the same reason, is not named again.

    What cannot be written is said once, and does not stop the run.

    Args:
        path: the file; its folder is made when it is needed. What is in it stays.

    Raises:
        ValueError: it can be no such file.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            # A later `chdir` must not spread it over several folders.
            self.path = Path(path).expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"a list of bad images cannot be {str(path)!r}: {error}") from None
        if not str(path) or (self.path.exists() and not self.path.is_file()):
            raise ValueError(f"a list of bad images must be a file, got {str(path)!r}")
        self._known: set[tuple[object, object, object]] = set()
        self._lock = ProcessLock()
        self._has_begun = False
        self._has_failed = False

    def add(self, image: BadImage) -> None:
        """Writes one line."""
        line = json.dumps(
            {
                "position": image.position,
                "uri": image.uri,
                "reason": image.reason,
                "message": image.message,
                "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        )
        try:
            with self._lock.here():
                self._begin()
                key = image.position, image.uri, image.reason
                if key not in self._known:
                    self._write(line.encode() + b"\n")
                    self._known.add(key)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "a bad image could not be written to %s: %s. It is only counted",
                    printable(str(self.path)),
                    error.strerror or error,
                )

    def _begin(self) -> None:
        """Reads what the file names already."""
        if self._has_begun:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as lines:
            for line in lines:
                # No line of ours.
                with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                    value = json.loads(line)
                    self._known.add((value["position"], value["uri"], value["reason"]))
        self._has_begun = True

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            _lock(descriptor)
            # A kill or a full disk may have left half a line behind.
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Locks the file if that can be had soon.

    Another process's line grows page by page: without the lock, half of it may be seen, and a
    line end too many comes between. That is better than to wait for one that does not go on.
    """
    until = time.monotonic() + _LOCK_SECONDS
    with contextlib.suppress(OSError):  # a file system that has no locks
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return
                time.sleep(_PAUSE_SECONDS)
            else:
                return
