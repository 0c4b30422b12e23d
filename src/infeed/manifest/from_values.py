"""Rows from names and labels that are in memory already."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import zip_longest
from math import isnan
from typing import Any, Final

from infeed.errors import ManifestError
from infeed.manifest.rows import Rows
from infeed.printable import show

_END: Final = object()


def read_values(
    names: Iterable[str | os.PathLike[str]],
    labels: Iterable[str | int] | None,
    weights: Iterable[float] | None,
    rows: Rows,
) -> None:
    """Adds a row for each name to `rows`.

    Raises:
        ManifestError: there are not as many names as labels or weights, or one is wrong.
    """
    for argument, values in (("names", names), ("labels", labels), ("weights", weights)):
        if isinstance(values, str | bytes):
            raise TypeError(f"{argument} must be a list, got the text {values!r}")
    # Arrays give numpy scalars one by one, slowly; as lists they give Python's.
    columns = [
        values.tolist() if hasattr(values, "tolist") else values
        for values in (names, labels, weights)
        if values is not None
    ]
    for row in zip_longest(*columns, fillvalue=_END):
        if _END in row:
            raise ManifestError(
                f"{rows.source}: names, labels and weights differ in number; one of them ends "
                f"after {len(rows)}. Give one label, and one weight, for each name."
            )
        rest = iter(row[1:])
        rows.add(
            _name_text(row[0], rows),
            _label_text(next(rest), rows) if rows.labelled else None,
            str(next(rest)) if rows.weighted else None,
        )


def _name_text(name: object, rows: Rows) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, os.PathLike) and isinstance(path := os.fspath(name), str):
        return path
    raise ManifestError(
        f"{rows.next_place()}: the image name is {show(name)}, {type(name).__name__}; "
        f"expected text or a path."
    )


def _label_text(label: Any, rows: Rows) -> str | None:
    if isinstance(label, str):
        return str(label)  # numpy has a text type of its own
    if label is None or (isinstance(label, float) and isnan(label)):
        return None
    if hasattr(label, "__index__") and not isinstance(label, bool):
        try:
            return str(label.__index__())
        except ValueError:
            raise ManifestError(
                f"{rows.next_place()}: the label has more digits than Python writes; "
                f"expected an integer or text. Pass it as text."
            ) from None
    raise ManifestError(
        f"{rows.next_place()}: the label is {show(label)}, {type(label).__name__}; "
        f"expected an integer or text."
    )
