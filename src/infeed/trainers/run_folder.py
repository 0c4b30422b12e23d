"""The folder of a run: made fresh, never one that holds something; and the class names in it."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from infeed.trainers.backup_file import BACKUP_FILE, PREVIOUS_FILE
from infeed.trainers.whole_file import PARTIAL

MODEL_FILE = "model.keras"
CLASSES_FILE = "class_names.json"
DATA_FILE = "data.json"
RECIPE_FILE = "recipe.json"
LOG_FILE = "log.csv"
RUN_FILE = "run.json"
BACKUP_FOLDER = "backup"
RUN_FILES = (MODEL_FILE, CLASSES_FILE, RECIPE_FILE, DATA_FILE, LOG_FILE, RUN_FILE)


def make_run_folder(out: Path | None, *, beside: Path = Path(), resume: bool = False) -> Path:
    """A new, empty folder for a run.

    Args:
        out: the folder to use; it may exist if it is empty. None takes the first free one of
            `run-1`, `run-2`, ... in `beside`.
        beside: where a run without a name goes.
        resume: `out` may hold a run already.

    Raises:
        FileExistsError: `out` holds something already, which is not touched.
        OSError: the folder cannot be made.
    """
    check_run_folder(out, resume=resume)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
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
    """Refuses, before any work is done, a folder that cannot hold a new run.

    Args:
        resume: a folder that holds a run, and nothing else, will do, too.

    Raises:
        FileExistsError: `out` is a file, or holds something already.
    """
    if out is None:
        return
    for folder in (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file, not a folder. Pass another --out.")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if not names:
        return
    foreign = [name for name in names if not _is_of_a_run(name)]
    if foreign and resume:
        raise FileExistsError(
            f"{out} holds something that is not of a run: {foreign[0]!r}. Pass the --out of the "
            "run to resume, or remove it first."
        )
    if not resume:
        cure = "Pass another --out, or remove it first."
        if not foreign:
            cure = f"Add --resume to go on with the run in it. {cure}"
        raise FileExistsError(f"{out} holds something already. {cure}")


def has_backup(folder: Path) -> bool:
    """Whether a run left a state of its training there, to go on from."""
    backups = folder / BACKUP_FOLDER
    return (backups / BACKUP_FILE).exists() or (backups / PREVIOUS_FILE).exists()


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
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}") from None
    if not isinstance(summary, dict) or not isinstance(summary.get("epochs"), int):
        raise ValueError(f"{path} is not the summary of a run: it tells no number of epochs.")
    return summary


def remove_unfinished_run(folder: Path) -> None:
    """Removes a run's folder if it holds neither model nor backup: only our files, if any."""
    if (folder / MODEL_FILE).exists() or has_backup(folder):
        return
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # there is none, or it holds something
        (folder / BACKUP_FOLDER).rmdir()
    with contextlib.suppress(OSError):  # it holds something of somebody else's
        folder.rmdir()


def _is_of_a_run(name: str) -> bool:
    return name in (*RUN_FILES, BACKUP_FOLDER) or name.startswith(PARTIAL)


def read_class_names(path: Path) -> list[str | int]:
    """The class names in a JSON file, as a run's folder and many a data set have them.

    Raises:
        ValueError: the file holds no JSON list of texts or integers.
        OSError: it cannot be read.
    """
    try:
        names = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected a JSON list of class names: {error}") from None
    if not isinstance(names, list) or not all(
        isinstance(name, str | int) and not isinstance(name, bool) for name in names
    ):
        raise ValueError(
            f'{path}: expected a JSON list of class names such as ["healthy", "rust"], got '
            f"{str(names)[:60]}"
        )
    return names
