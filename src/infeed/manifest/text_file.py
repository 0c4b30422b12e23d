"""A manifest file, opened as text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from infeed.errors import ManifestError
from infeed.manifest.place import show

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file and how its bytes become text.

    Attributes:
        encoding: a codec's name. "utf-8" also takes a byte order mark.
        encoding_errors: "strict", or "surrogateescape" to keep bytes that do not decode.
    """

    path: Path
    encoding: str = "utf-8"
    encoding_errors: str = "strict"

    def __post_init__(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(
                f"encoding {self.encoding!r} is not known to Python. Pass one such as 'utf-8'"
            ) from None
        if self.encoding_errors not in ("strict", "surrogateescape"):
            raise ValueError(
                f"encoding_errors must be 'strict' or 'surrogateescape', "
                f"got {self.encoding_errors!r}"
            )

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The text, line ends as they are written, without a byte order mark.

        Raises:
            ManifestError: there is no such file, or inside the block it turns out not to be
                text in this encoding.
        """
        is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        try:
            with self.path.open("rb") as file:
                start = file.read(4)
            if is_utf8 and (start[:2] in _UTF16_MARKS or b"\0" in start):
                raise ManifestError(
                    f"{self.path}: the file begins with {start!r}, which is UTF-16 or no text. "
                    f'Save it as UTF-8, or pass encoding="utf-16".'
                )
            encoding = "utf-8-sig" if is_utf8 else self.encoding
            with self.path.open(encoding=encoding, errors=self.encoding_errors, newline="") as text:
                yield text
        except UnicodeError as error:
            raise self._no_text(error) from error
        except FileNotFoundError:
            raise ManifestError(
                f"{self.path}: there is no such file. Check the path; "
                f"the working folder is {Path.cwd()}."
            ) from None
        except IsADirectoryError:
            raise ManifestError(
                f"{self.path} is a folder; expected a manifest file. "
                f"For class-named folders use Manifest.from_folders."
            ) from None
        except OSError as error:
            raise ManifestError(f"{self.path} cannot be read: {error}.") from error

    def _no_text(self, error: UnicodeError) -> ManifestError:
        if isinstance(error, UnicodeDecodeError) and error.reason == "unexpected end of data":
            return ManifestError(
                f"{self.path}: the file ends in the middle of a character: it is cut off. "
                f"Copy or write the file again."
            )
        line = self._first_bad_line()
        where = f"{self.path}, line {line}" if line else f"{self.path}"
        found = ""
        if isinstance(error, UnicodeDecodeError):
            found = f" ({show(error.object[error.start : error.start + 8])})"
        return ManifestError(
            f"{where}: the text is not {self.encoding}{found}. Save the file as UTF-8, "
            f'or pass the encoding it has, such as encoding="gb18030" or "cp1252", '
            f'or encoding_errors="surrogateescape" to keep the bytes as they are.'
        )

    def _first_bad_line(self) -> int | None:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.decode(self.encoding)
                except UnicodeError:
                    return number if b"\0" not in line else None
        return None
