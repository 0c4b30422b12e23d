"""The folder of a run: a fresh one, or that of a run to go on with; and the class names in it."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infeed.trainers.backup_folder import BackupFolder
from infeed.whole_file import remove_partial_files

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

MODEL_FILE = "model.keras"
CLASSES_FILE = "class_names.json"
DATA_FILE = "data.json"
RECIPE_FILE = "recipe.json"
LOG_FILE = "log.csv"
RUN_FILE = "run.json"
BACKUP_FOLDER = "backup"
BAD_IMAGES_FILE = "bad_images.jsonl"
VAL_BAD_IMAGES_FILE = "val_bad_images.jsonl"
BAD_IMAGES_FILES = (BAD_IMAGES_FILE, VAL_BAD_IMAGES_FILE)
RUN_FILES = (MODEL_FILE, CLASSES_FILE, RECIPE_FILE, DATA_FILE, LOG_FILE, RUN_FILE)


def make_run_folder(out: Path | None, *, beside: Path = Path(), resume: bool = False) -> Path:
    """The folder for a run: a new, empty one, or that of a run to go on with.

    Args:
        out: the folder to use; it may exist if it is empty. None takes the first free one of
            `run-1`, `run-2`, ... in `beside`.
        beside: where a run without a name goes.
        resume: `out` may hold a run already.

    Raises:
        FileExistsError: `out` holds something that is not to be touched.
        OSError: the folder cannot be made.
    """
    check_run_folder(out, resume=resume)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{out} cannot be made: {error.strerror or error}. Pass another --out."
            ) from error
        return out
    for number in itertools.count(1):
        folder = beside / f"run-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def check_run_folder(out: Path | None, *, resume: bool = False) -> None:
    """Refuses, before any work is done, a folder that is not for this run.

    Args:
        resume: a folder that holds a run will do, too, whatever else lies in it.

    Raises:
        FileExistsError: `out` is a file, or holds something already.
    """
    if out is None:
        return
    for folder in (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file, not a folder. Pass another --out.")
    if not out.is_dir() or (resume and is_run(out)):
        return
    # What is left of a run that has met too many bad images.
    if all(path.name in BAD_IMAGES_FILES for path in out.iterdir()):
        return
    if resume:
        raise FileExistsError(
            f"{out} holds something, but no run of infeed: no {DATA_FILE} that infeed wrote, and "
            "no backup. Pass the --out of the run to resume."
        )
    cure = "Pass another --out, or remove it first."
    if is_run(out):
        cure = f"Add --resume to go on with the run in it. {cure}"
    raise FileExistsError(f"{out} holds something already. {cure}")


def is_run(folder: Path) -> bool:
    """Whether infeed has trained into a folder: it wrote what the run is fed with, or a backup."""
    try:
        data = json.loads((folder / DATA_FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return has_backup(folder)
    return has_backup(folder) or (isinstance(data, dict) and "data_version" in data)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training into the same folder; the lock dies with this process.

    Raises:
        BlockingIOError: another process is training into it.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"Another process is training into {folder}. Wait for it, or pass another --out."
            ) from None
        except OSError:  # a file system without locks
            logger.debug("%s cannot be locked", folder)
        yield
    finally:
        os.close(handle)


def has_backup(folder: Path) -> bool:
    """Whether a run left a state of its training there, to go on from."""
    return BackupFolder(folder / BACKUP_FOLDER).holds_backup()


def finished_run(folder: Path) -> dict[str, Any] | None:
    """What a run that has come to its end says of itself; None if it has not.

    Raises:
        ValueError: its summary cannot be read.
    """
    path = folder / RUN_FILE
    try:
        summary = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}") from None
    is_summary = isinstance(summary, dict) and isinstance(summary.get("metrics"), dict)
    if not is_summary or not isinstance(summary.get("epochs"), int):
        raise ValueError(f"{path} is not the summary of a run: it tells no epochs, or no metrics.")
    return dict(summary)


def remove_unfinished_run(folder: Path, *, but_bad_images: bool = False) -> None:
    """Removes a new run's folder if it holds neither model nor backup: only our files, if any.

    Nothing of a folder that another process is training into.

    Args:
        but_bad_images: leave the list of its bad images, which says why the run ended.
    """
    # What cannot be removed, or locked, must not hide why the run has ended.
    with contextlib.suppress(OSError), locked(folder):
        if (folder / MODEL_FILE).exists() or has_backup(folder):
            return
        for name in RUN_FILES if but_bad_images else (*RUN_FILES, *BAD_IMAGES_FILES):
            with contextlib.suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        remove_partial_files(folder)
        for each in (folder / BACKUP_FOLDER, folder):
            with contextlib.suppress(OSError):  # it holds something of somebody else's
                each.rmdir()


def read_class_names(path: Path) -> list[str | int]:
    """The class names in a JSON file, as a run's folder and many a data set have them.

    Raises:
        ValueError: the file holds no JSON list of texts or integers.
        OSError: it cannot be read.
    """
    if not path.is_file() and path.exists():
        raise ValueError(f"{path} is no plain file; expected a JSON list of class names.")
    try:
        names = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON list of class names: {error}") from None
    if not isinstance(names, list) or not all(
        isinstance(name, str | int) and not isinstance(name, bool) for name in names
    ):
        raise ValueError(
            f'{path}: expected a JSON list of class names such as ["healthy", "rust"], got '
            f"{str(names)[:60]}"
        )
    return names
