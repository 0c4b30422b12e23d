"""Where in a manifest something is wrong, and the value there, as error messages write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from reprlib import Repr
from typing import Final

from infeed.printable import printable

_SHOWN_CHARACTERS: Final = 120
_SHOWN_ITEMS: Final = 20

# Looks at no more of a value than it shows: `repr` of a row may take gigabytes, and it fails on
# lists in lists in lists that JSON could still read.
_REPR: Final = Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _SHOWN_CHARACTERS
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = _SHOWN_ITEMS


def place(source: str, row: int, line: int | None = None) -> str:
    """The place of a record, for the start of a message.

    Rows count from 1, as in a spreadsheet without its header; lines count from 1, as in an
    editor. A record's *position* counts from 0.

    >>> place("train.csv", 3, 4)
    'train.csv, row 3 (line 4)'
    """
    return f"{source}, row {row}" if line is None else f"{source}, row {row} (line {line})"


def show(value: object) -> str:
    """`repr(value)`, cut where it is too long for a message; always printable.

    >>> show("x" * 1000)[-8:]
    "xxxx...'"
    """
    if isinstance(value, str | bytes):
        text = repr(value[:_SHOWN_CHARACTERS])
        if len(value) > _SHOWN_CHARACTERS:
            text += text[-1]  # longer than what is shown, whatever was cut
    else:
        try:
            text = _REPR.repr(value)
        except ValueError:  # an integer with more digits than Python writes
            text = f"a very large {type(value).__name__}"
    text = printable(text)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[: _SHOWN_CHARACTERS - 4]}...{text[-1]}"


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
