"""The folder of a run: made fresh, never one that holds something; and the class names in it."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path

MODEL_FILE = "model.keras"
CLASSES_FILE = "class_names.json"
DATA_FILE = "data.json"
RECIPE_FILE = "recipe.json"
LOG_FILE = "log.csv"
RUN_FILE = "run.json"
RUN_FILES = (MODEL_FILE, CLASSES_FILE, RECIPE_FILE, DATA_FILE, LOG_FILE, RUN_FILE)


def make_run_folder(out: Path | None, *, beside: Path = Path()) -> Path:
    """A new, empty folder for a run.

    Args:
        out: the folder to use; it may exist if it is empty. None takes the first free one of
            `run-1`, `run-2`, ... in `beside`.
        beside: where a run without a name goes.

    Raises:
        FileExistsError: `out` holds something already, which is not touched.
        OSError: the folder cannot be made.
    """
    check_run_folder(out)
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


def check_run_folder(out: Path | None) -> None:
    """Refuses, before any work is done, a folder that cannot hold a new run.

    Raises:
        FileExistsError: `out` is a file, or holds something already.
    """
    if out is None:
        return
    for folder in (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file, not a folder. Pass another --out.")
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(
            f"{out} holds something already. Pass another --out, or remove it first."
        )


def remove_unfinished_run(folder: Path) -> None:
    """Removes a run's folder if it holds no model: only files of ours, and nothing else."""
    if (folder / MODEL_FILE).exists():
        return
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds something of somebody else's
        folder.rmdir()


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
