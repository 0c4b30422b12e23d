"""Where in a manifest something is wrong, and the value there, as error messages write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from infeed.printable import printable, show

_SHOWN_ITEMS: Final = 20


def place(source: str, row: int, line: int | None = None) -> str:
    """The place of a record, for the start of a message.

    Rows count from 1, as in a spreadsheet without its header; lines count from 1, as in an
    editor. A record's *position* counts from 0.

    >>> place("train.csv", 3, 4)
    'train.csv, row 3 (line 4)'
    """
    return f"{source}, row {row}" if line is None else f"{source}, row {row} (line {line})"


def listing(values: Iterable[object]) -> str:
    """The values with commas between, the first twenty at most.

    >>> listing(["a", 1])
    "'a', 1"
    >>> listing(range(1000)).endswith("18, 19, ... (1000 in all)")
    True
    """
    values = values if isinstance(values, Sequence) else list(values)
    shown = ", ".join(show(value) for value in islice(values, _SHOWN_ITEMS))
    return shown if len(values) <= _SHOWN_ITEMS else f"{shown}, ... ({len(values)} in all)"


def working_folder() -> str:
    """The folder that relative paths begin in, for the end of a message."""
    try:
        return f"the working folder is {printable(str(Path.cwd()))}"
    except OSError:  # somebody has removed it
        return "the working folder is gone"
