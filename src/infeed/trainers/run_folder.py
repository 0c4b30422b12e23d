"""The folder of a run: made fresh, never one that holds something; and the class names in it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path


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
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise FileExistsError(
                f"{out} holds something already. Pass another --out, or remove it first."
            )
        return out
    for number in itertools.count(1):
        folder = beside / f"run-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


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
