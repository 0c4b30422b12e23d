"""Rows from a JSON list of objects, or from JSON Lines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from infeed.errors import ManifestError
from infeed.manifest.columns import ColumnChoice, Columns
from infeed.manifest.json_objects import JsonObject, JsonObjects, NotANumber
from infeed.manifest.place import listing
from infeed.manifest.rows import Rows
from infeed.manifest.text_file import TextFile
from infeed.printable import show


def read_json(file: TextFile, choice: ColumnChoice, rows: Rows) -> None:
    """Adds the rows of a file to `rows`, one by one: the file is never in memory as a whole.

    Raises:
        ManifestError: the file or one of its rows is not as it should be.
    """
    with file.open() as text:
        columns: Columns | None = None
        for pairs, line in JsonObjects(text, rows.source):
            row = dict(pairs)
            if len(row) != len(pairs):
                raise _key_twice(rows.next_place(line), pairs)
            if columns is None:
                columns = _find_columns(row, choice, rows.source)
            name = row.get(columns.image)
            if type(name) is not str:
                raise _wrong(rows.next_place(line), row, columns.image, "image name")
            label = weight = None
            if columns.label is not None:
                label = row.get(columns.label)
                if type(label) is not str:
                    raise _wrong(rows.next_place(line), row, columns.label, "label")
            if columns.weight is not None:
                weight = row.get(columns.weight)
                if type(weight) is not str:
                    raise _wrong(rows.next_place(line), row, columns.weight, "weight")
            rows.add(name, label, weight, line)


def _key_twice(where: str, pairs: JsonObject) -> ManifestError:
    counts = Counter(key for key, _ in pairs)
    twice = next(key for key, count in counts.items() if count > 1)
    return ManifestError(
        f"{where}: key {show(twice)} occurs twice in the object. Remove one of them."
    )


def _find_columns(row: dict[str, Any], choice: ColumnChoice, source: str) -> Columns:
    try:
        return choice.find(row, source=source)
    except ManifestError as error:
        if any(type(value) in (list, tuple) for value in row.values()):
            raise ManifestError(
                f"{error} Its first object holds lists or objects; expected a JSON list of flat "
                f"objects, one for each image. Write the rows out as such a list."
            ) from error
        raise


def _wrong(where: str, row: dict[str, Any], column: str, what: str) -> ManifestError:
    if column not in row:
        return ManifestError(
            f"{where}: no column {show(column)}, so the {what} is missing; "
            f"the row has {listing(list(row)) or 'nothing'}. Add it, or remove the row."
        )
    value = row[column]
    if value is None or isinstance(value, NotANumber):
        text = "null" if value is None else value.text
        without = ", or pass labelled=False" if what == "label" else ""
        return ManifestError(
            f"{where}: the {what} is missing ({show(column)} is {text}). "
            f"Write it, remove the row{without}."
        )
    kinds = {bool: "true or false", list: "a list", tuple: "an object"}
    wanted = {"label": "an integer or text", "weight": "a number >= 0"}.get(what, "text")
    return ManifestError(
        f"{where}: the {what} ({show(column)}) is {kinds[type(value)]}, {show(value)}; "
        f"expected {wanted}."
    )
