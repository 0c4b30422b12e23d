"""The last backup of a run and the one before it: one of them can always be gone on with."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from infeed import ResumeError
from infeed.trainers.backup_folder import BackupFolder

ARRAYS = [np.arange(3)]


@pytest.fixture
def folder(tmp_path: Path) -> BackupFolder:
    """Holds the backups 1 and, as the last one, 2."""
    folder = BackupFolder(tmp_path / "备份", keep_previous=True)
    for number in (1, 2):
        folder.write({"number": number}, ARRAYS)
    return folder


def read(folder: BackupFolder) -> int:
    """The number of the backup that a new process goes on with."""
    backup = BackupFolder(folder.path, keep_previous=True).read()
    assert backup is not None
    number: int = backup.state["number"]
    return number


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


def make_unreadable(path: Path) -> None:
    """What root cannot read either: the name leads in a circle."""
    path.unlink()
    path.symlink_to(path.name)


LOST = pytest.mark.parametrize("lose", [damage, make_unreadable])


def test_the_one_before_the_last_is_kept(folder: BackupFolder) -> None:
    damage(folder.file)
    assert read(folder) == 1


@LOST
def test_a_write_that_fails_leaves_the_good_one_where_the_last_is_lost(
    folder: BackupFolder, lose: object
) -> None:
    assert callable(lose)
    lose(folder.file)
    backup = folder.read()
    assert backup is not None
    assert backup.state["number"] == 1
    with pytest.raises(TypeError):  # as a kill would, before the new one is there
        folder.write({"number": object()}, ARRAYS)
    assert read(folder) == 1


@LOST
def test_the_next_backup_takes_the_place_of_one_that_is_lost(
    folder: BackupFolder, lose: object
) -> None:
    assert callable(lose)
    lose(folder.file)
    folder.read()
    folder.write({"number": 3}, ARRAYS)
    assert read(folder) == 3
    damage(folder.file)
    assert read(folder) == 1


def test_backups_after_that_are_kept_in_pairs_again(folder: BackupFolder) -> None:
    damage(folder.file)
    folder.read()
    for number in (3, 4):
        folder.write({"number": number}, ARRAYS)
    damage(folder.file)
    assert read(folder) == 3


def test_a_last_backup_that_cannot_be_read_is_said(
    folder: BackupFolder, caplog: pytest.LogCaptureFixture
) -> None:
    make_unreadable(folder.file)
    assert read(folder) == 1
    assert f"cannot be read ([Errno {errno.ELOOP}] {os.strerror(errno.ELOOP)}" in caplog.text
    assert "going on from the backup before it" in caplog.text


@pytest.mark.parametrize(("lose", "error"), [(damage, ResumeError), (make_unreadable, OSError)])
def test_without_one_before_it_a_lost_backup_is_an_error(
    folder: BackupFolder, lose: object, error: type[Exception]
) -> None:
    assert callable(lose)
    folder.previous.unlink()
    lose(folder.file)
    with pytest.raises(error):
        folder.read()
