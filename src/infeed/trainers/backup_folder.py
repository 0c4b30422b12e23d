"""The folder of a run's backup: the last one, and where it is wanted the one before it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from infeed.errors import ResumeError
from infeed.printable import printable
from infeed.trainers.backup_file import Backup, read_backup, write_backup
from infeed.version import __version__
from infeed.whole_file import remove_partial_files

# Counts up whenever a backup of an older infeed can no longer be continued.
FORMAT_VERSION: Final = 1

BACKUP_FILE: Final = "backup.npz"
PREVIOUS_FILE: Final = "backup-previous.npz"

logger = logging.getLogger(__name__)


@final
class BackupFolder:
    """Where one run keeps its state. The folder is there only while it holds something.

    Args:
        path: the folder; for this run alone.
        keep_previous: keep the backup before the last one, too.
    """

    def __init__(self, path: Path, *, keep_previous: bool = False) -> None:
        self.path = path
        self.keep_previous = keep_previous
        self._last_is_lost = False  # it was found damaged, or could not be read

    @property
    def file(self) -> Path:
        """The last backup."""
        return self.path / BACKUP_FILE

    @property
    def previous(self) -> Path:
        """The one before it."""
        return self.path / PREVIOUS_FILE

    def holds_backup(self) -> bool:
        """Whether there is a backup, in whatever state."""
        return self.file.exists() or self.previous.exists()

    def prepare(self) -> None:
        """Finds out now, not in an hour, whether backups can be written; clears what kills left.

        Raises:
            OSError: they cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_partial_files(self.path)
            probe = self.path / "partial-probe"
            probe.touch()
            probe.unlink()
            if not any(self.path.iterdir()):
                self.path.rmdir()
        except OSError as error:
            raise OSError(
                f"{self.path} cannot hold backups: {error.strerror or error}. Pass another "
                "backup_dir."
            ) from error

    def read(self) -> Backup | None:
        """The last backup, or where that is lost the one before it; None where there is none.

        Raises:
            ResumeError: it is damaged and there is no other, or another version wrote it.
            OSError: it cannot be read and there is no other.
        """
        backup, self._last_is_lost = None, False
        try:
            backup = read_backup(self.file)
        except FileNotFoundError:
            pass
        except (ResumeError, OSError) as error:
            if not self.previous.exists():
                raise
            self._last_is_lost = True
            is_damaged = isinstance(error, ResumeError)
            logger.warning(
                "%s %s; going on from the backup before it",
                printable(str(self.file)),
                "is damaged" if is_damaged else f"cannot be read ({error})",
            )
        if backup is None:
            try:
                backup = read_backup(self.previous)
            except FileNotFoundError:
                return None
        version = backup.state.get("format_version")
        if version != FORMAT_VERSION:
            raise ResumeError(
                f"{self.file} has format version {version}, and this infeed {__version__} reads "
                f"{FORMAT_VERSION}. Continue with the infeed that wrote it "
                f"({backup.state.get('infeed')}), or remove it to start anew."
            )
        return backup

    def write(self, state: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """Makes this the last backup.

        Raises:
            OSError: it cannot be written; what was there can still be read.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # What is lost must not take the place of the only good one.
        if self.keep_previous and not self._last_is_lost and self.file.exists():
            self.file.replace(self.previous)
        head = {"format_version": FORMAT_VERSION, "infeed": __version__}
        write_backup(self.file, {**head, **state}, arrays)
        self._last_is_lost = False

    def remove(self) -> None:
        """Removes the backups, and the folder if nothing else is in it."""
        self.file.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something of somebody else's
            self.path.rmdir()
