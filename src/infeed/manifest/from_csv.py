"""Rows from comma- or tab-separated text with a header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, TextIO, final

from infeed.errors import ManifestError
from infeed.manifest.columns import ColumnChoice
from infeed.manifest.extensions import looks_like_an_image
from infeed.manifest.place import listing
from infeed.manifest.rows import Rows
from infeed.manifest.text_file import TextFile
from infeed.printable import printable, show

_DELIMITERS: Final = (",", "\t", ";", "|")
_MAX_LINE_CHARACTERS: Final = 1 << 20
_MAX_ROW_CHARACTERS: Final = 1 << 21
_MAX_BLANK_LINES: Final = 1_000_000


def read_csv(
    file: TextFile,
    choice: ColumnChoice,
    rows: Rows,
    *,
    delimiter: str | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Adds the rows of a file to `rows`, one by one.

    Args:
        delimiter: between fields; None: a tab for `.tsv`, else what the first line has most of.
        columns: the names of the columns, for a file without a header line.

    Raises:
        ManifestError: the file or one of its rows is not as it should be.
    """
    if delimiter is None and file.path.suffix.lower() == ".tsv":
        delimiter = "\t"
    if delimiter is not None and len(delimiter) != 1:
        raise ValueError(f"delimiter must be one character, got {delimiter!r}")
    with file.open() as text:
        lines = _split(text, rows, delimiter)
        if columns is None:
            header = [column.strip() for column in next(lines, ([], 1))[0]]
        else:
            header = list(columns)
        first = next(lines, None)
        if first is None:
            return
        fields = _locate(header, first[0], choice, rows.source, has_header=columns is None)
        for record, line in chain([first], lines):
            if len(record) != len(header):
                raise ManifestError(
                    f"{rows.next_place(line)} has {len(record)} fields, but there are "
                    f"{len(header)} columns ({listing(header)}): {show(record)}. Correct the row; "
                    f'a field with the delimiter in it stands between double quotes: "a,b".'
                )
            rows.add(
                record[fields.image],
                None if fields.label is None else record[fields.label],
                None if fields.weight is None else record[fields.weight],
                line,
            )


class _Fields(NamedTuple):
    """The columns to read, by number."""

    image: int
    label: int | None
    weight: int | None


def _locate(
    header: list[str], first: list[str], choice: ColumnChoice, source: str, *, has_header: bool
) -> _Fields:
    # Else the first row of a file without header would be taken for one, and be lost.
    if has_header and choice.image is None and any(map(looks_like_an_image, header)):
        raise ManifestError(
            f"{source}: the first line looks like a row, not like a header: {show(header)}. "
            f"Put a line such as 'image,label' before it, or pass the names of the columns: "
            f'columns=["image", "label"].'
        )
    filled = first + [""] * (len(header) - len(first))
    columns = choice.find(dict(zip(header, filled, strict=False)), source=source)
    for column in (columns.image, columns.label, columns.weight):
        if column is not None and header.count(column) > 1:
            raise ManifestError(
                f"{source}: column {show(column)} occurs {header.count(column)} times; columns are "
                f"{listing(header)}. Give each its own name, or pass another column."
            )
    return _Fields(
        header.index(columns.image),
        None if columns.label is None else header.index(columns.label),
        None if columns.weight is None else header.index(columns.weight),
    )


def _split(text: TextIO, rows: Rows, delimiter: str | None) -> Iterator[tuple[list[str], int]]:
    """The fields of every line that is not blank, and the line each begins on."""
    lines = _Lines(text, rows)
    feed = iter(lines)
    first_line = next((line for line in feed if not lines.is_blank(line)), None)
    if first_line is None:
        return
    delimiter = delimiter or max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(
        chain([first_line], feed),
        delimiter=delimiter,
        # 'image, label' in the first line says that the blank belongs to the comma.
        skipinitialspace=f"{delimiter} " in first_line,
        strict=True,
    )
    line = lines.number
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ManifestError(
                f"{rows.next_place(line)} is not CSV: {printable(str(error))}. Look for a double "
                f"quote that is not closed; within a quoted field it is written twice."
            ) from error
        if record:
            lines.begin_row()
            yield record, line
        else:
            lines.is_blank("")
        line = lines.number + 1


@final
class _Lines:
    """The lines of a text one by one, refused where they are no rows but fill the memory.

    `csv.field_size_limit` is no help: it holds for the whole process, and many programs lift it.
    """

    def __init__(self, text: TextIO, rows: Rows) -> None:
        self.number = 0
        self._text = text
        self._rows = rows
        self._characters = 0  # of the row that is being read
        self._blank = 0  # lines in a row

    def __iter__(self) -> Iterator[str]:
        read = self._text.readline
        while line := read(_MAX_LINE_CHARACTERS):
            self.number += 1
            self._characters += len(line)
            if self._characters > _MAX_ROW_CHARACTERS or len(line) == _MAX_LINE_CHARACTERS:
                raise self._too_long(line)
            yield line

    def begin_row(self) -> None:
        """What comes next belongs to another row."""
        self._characters = self._blank = 0

    def is_blank(self, line: str) -> bool:
        """Whether there is nothing in a line; refuses more of those than anybody writes."""
        if line.strip():
            return False
        self._characters = 0
        self._blank += 1
        if self._blank > _MAX_BLANK_LINES:
            raise ManifestError(
                f"{self._rows.source}: {_MAX_BLANK_LINES:,} blank lines one after the other, up "
                f"to line {self.number}; expected CSV text, a row a line. "
                f"Check that this is the right file."
            )
        return True

    def _too_long(self, line: str) -> ManifestError:
        if len(line) == _MAX_LINE_CHARACTERS:
            return ManifestError(
                f"{self._rows.source}, line {self.number} is longer than {_MAX_LINE_CHARACTERS} "
                f"characters; expected CSV text, a row a line. Check that this is the right file."
            )
        return ManifestError(
            f"{self._rows.next_place()} is not CSV: it is longer than {_MAX_ROW_CHARACTERS} "
            f"characters, down to line {self.number}. Look for a double quote that is not "
            f"closed; within a quoted field it is written twice."
        )
