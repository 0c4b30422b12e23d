"""`Journal`: a line for each bad image, on disk as soon as it is met."""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, final

from infeed.printable import printable

if TYPE_CHECKING:
    from infeed.stream.quarantine import BadImage

logger = logging.getLogger(__name__)


@final
class Journal:
    """A file of JSON Lines, to which one line is added for each bad image.

    A line holds `position`, `uri`, `reason` and `message`, as in `BadImage`, and `when`, in UTC
    (ISO 8601). It is written at once by one call, so that several processes may share the file;
    the file is open only for that moment. There is no file before there is a bad image.
    A run that is resumed may name an image again that it had met after its backup.

    What cannot be written is said once, and does not stop the run.

    Args:
        path: the file; its folder is made when it is needed. What is in it stays.
    """

    def __init__(self, path: str | Path) -> None:
        # A later `chdir` must not spread it over several folders.
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.Lock()
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
            with self._lock:
                self._write(line.encode() + b"\n")
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "bad images cannot be written to %s: %s. They are only counted",
                    printable(str(self.path)),
                    error.strerror or error,
                )

    def _write(self, line: bytes) -> None:
        if not self._has_begun:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            if not self._has_begun:
                # A kill may have left half a line behind.
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line
                self._has_begun = True
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
