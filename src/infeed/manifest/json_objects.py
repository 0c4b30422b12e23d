"""The objects of a JSON text, one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TextIO, final

from infeed.errors import ManifestError
from infeed.manifest.place import place
from infeed.printable import show

_CHUNK_CHARACTERS: Final = 1 << 18
# A text of twice that is parsed at most, into about forty times as many bytes.
_MAX_ROW_CHARACTERS: Final = 1 << 21
# An error this near to the end of the text read so far may only mean that more must be read:
# what is left of a number, a literal or an escape is never longer.
_NEAR_CHARACTERS: Final = 16
_NOT_BLANK: Final = re.compile(r"[^ \t\r\n]")

JsonObject = tuple[tuple[str, Any], ...]


@final
class NotANumber:
    """Stands for NaN and Infinity, which Python's JSON takes though JSON has none."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


# Numbers stay text, so that 007, 1e3 and 3 are told apart and no digit is lost. An object
# becomes a tuple of pairs, which shows a key that occurs twice, and differs from a list.
_DECODER: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=NotANumber, object_pairs_hook=tuple
)


@final
class JsonObjects:
    """Iterates over the objects of a text, each with the line it begins on.

    The text is a list of objects, or objects one after the other (JSON Lines). An object is a
    tuple of (key, value); its numbers are text as it stands there. No more than one object
    and a chunk of text is in memory.

    Raises:
        ManifestError: the text is no such JSON, or ends too early.
    """

    def __init__(self, file: TextIO, source: str) -> None:
        self._file = file
        self._source = source
        self._text = ""  # what has been read and may still be needed
        self._at = 0  # all of the text before it is done with
        self._counted = 0  # the line ends before it are in _line
        self._line = 1
        self._row = 0

    def __iter__(self) -> Iterator[tuple[JsonObject, int]]:
        first = self._peek()
        if first == "[":
            self._at += 1
            yield from self._list()
        elif first == "{":
            while self._peek():
                yield self._object()
        elif first:
            raise ManifestError(
                f"{self._source}, line {self._here()}: expected a JSON list of objects, "
                f"or one object a line; found {self._found()}."
            )

    def _list(self) -> Iterator[tuple[JsonObject, int]]:
        mark = self._peek()
        while mark != "]":
            yield self._object()
            mark = self._peek()
            if mark == ",":
                self._at += 1
                if self._peek() == "]":
                    raise ManifestError(
                        f"{place(self._source, self._row, self._here())} is the last, "
                        f"but a comma follows it. Remove the comma."
                    )
            elif not mark:
                raise self._cut_off("after")
            elif mark != "]":
                raise ManifestError(
                    f"{self._source}, line {self._here()}: expected ',' or ']' after row "
                    f"{self._row}, found {self._found()}. Correct the text."
                )
        self._at += 1
        if self._peek():
            raise ManifestError(
                f"{self._source}, line {self._here()}: {self._found()} follows the end of the "
                f"list. Remove it, or join the lists into one."
            )

    def _object(self) -> tuple[JsonObject, int]:
        mark = self._peek()
        line = self._here()
        self._row += 1
        if not mark:
            raise self._cut_off("before")
        if mark != "{":
            raise ManifestError(
                f"{place(self._source, self._row, line)} is not an object: {self._found()}. "
                f'Expected rows such as {{"image": "x.jpg", "label": 3}}.'
            )
        while True:
            try:
                pairs, self._at = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # An error far from the end is one; near it, more text may put it right.
                if not self._may_be_cut_off(error) or not self._more():
                    raise self._no_json(error, line) from error
            except RecursionError:
                raise ManifestError(
                    f"{place(self._source, self._row, line)} is nested too deeply. "
                    f"Expected a flat object, such as an image name and a label."
                ) from None
            else:
                return pairs, line

    def _peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            found = _NOT_BLANK.search(self._text, self._at)
            if found:
                self._at = found.start()
                return found.group()
            self._at = len(self._text)
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on; False at the end of the file."""
        rest = len(self._text) - self._at
        if rest > _MAX_ROW_CHARACTERS:
            raise ManifestError(
                f"{place(self._source, self._row, self._here())} is longer than "
                f"{_MAX_ROW_CHARACTERS} characters. Expected a JSON list of objects, "
                f"or one object a line, each such as an image name and a label."
            )
        # As much again as is there, so that a long row is not tried too often.
        text = self._file.read(max(_CHUNK_CHARACTERS, rest))
        if not text:
            return False
        self._here()
        self._text = self._text[self._at :] + text
        self._at = self._counted = 0
        return True

    def _here(self) -> int:
        """The line of the next character."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _found(self) -> str:
        return show(self._text[self._at : self._at + 40])

    def _may_be_cut_off(self, error: json.JSONDecodeError) -> bool:
        rest = len(self._text) - error.pos
        return error.msg.startswith("Unterminated") or rest <= _NEAR_CHARACTERS

    def _no_json(self, error: json.JSONDecodeError, line: int) -> ManifestError:
        if self._may_be_cut_off(error) and "}" not in self._text[error.pos :]:
            self._at = len(self._text)
            return self._cut_off("in")
        error_line = line + self._text.count("\n", self._at, error.pos)
        near = self._text[max(error.pos - 20, self._at) : error.pos + 20]
        return ManifestError(
            f"{place(self._source, self._row, line)} is not JSON: {error.msg}, "
            f"line {error_line} near {show(near)}. Correct the text."
        )

    def _cut_off(self, where: str) -> ManifestError:
        return ManifestError(
            f"{self._source}: the file ends in line {self._here()}, {where} row {self._row}, "
            f"but the JSON does not: it is cut off. Copy or write the file again."
        )
