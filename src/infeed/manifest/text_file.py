"""A manifest file, opened as text."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO, final

from infeed.errors import ManifestError
from infeed.manifest.place import working_folder
from infeed.plain_file import other_kind
from infeed.printable import printable, show

_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_CHUNK_BYTES: Final = 1 << 18

# Without waiting: a pipe may take the file's place between the look at it and its opening.
_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


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
            b"a".decode(self.encoding)  # there are codecs that make no text, such as "zlib"
        except UnicodeDecodeError:
            pass  # one letter is too little for it
        except (LookupError, UnicodeError):
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
            ManifestError: there is no such file, it is no plain file, it is compressed, or
                inside the block it turns out not to be text in this encoding; or it was changed
                while the block was running.
        """
        try:
            with _opened(self.path, self._name) as content:
                encoding = self._encoding_of(content)
                try:
                    with io.TextIOWrapper(
                        io.BufferedReader(content, _CHUNK_BYTES),
                        encoding=encoding,
                        errors=self.encoding_errors,
                        newline="",
                    ) as text:
                        yield text
                except UnicodeError as error:
                    raise self._no_text(error, content) from error
                content.refuse_changed()
        except FileNotFoundError:
            raise ManifestError(
                f"{self._name}: there is no such file. Check the path; {working_folder()}."
            ) from None
        except OSError as error:
            raise ManifestError(
                f"{self._name} cannot be read: {error.strerror or error}."
            ) from error

    @property
    def _name(self) -> str:
        return printable(str(self.path))

    def _encoding_of(self, content: _Content) -> str:
        """The codec's name that reads the content; refuses what begins as no text does."""
        is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        start = content.start(6)
        kind = next((kind for mark, kind in _COMPRESSED if start.startswith(mark)), None)
        if kind is not None:
            raise ManifestError(
                f"{self._name} is compressed ({kind}); expected JSON or CSV text. Unpack it first."
            )
        if is_utf8 and (start[:2] in _UTF16_MARKS or b"\0" in start[:4]):
            raise ManifestError(
                f"{self._name}: the file begins with {start[:4]!r}, which is UTF-16 or no text. "
                f'Save it as UTF-8, or pass encoding="utf-16".'
            )
        return "utf-8-sig" if is_utf8 else self.encoding

    def _no_text(self, error: UnicodeError, content: _Content) -> ManifestError:
        if isinstance(error, UnicodeDecodeError) and error.reason == "unexpected end of data":
            return ManifestError(
                f"{self._name}: the file ends in the middle of a character: it is cut off. "
                f"Copy or write the file again."
            )
        line = self._first_bad_line(content)
        where = f"{self._name}, line {line}" if line else self._name
        found = ""
        if isinstance(error, UnicodeDecodeError):
            found = f" ({show(error.object[error.start : error.start + 8])})"
        return ManifestError(
            f"{where}: the text is not {self.encoding}{found}. Save the file as UTF-8, "
            f'or pass the encoding it has, such as encoding="gb18030" or "cp1252", '
            f'or encoding_errors="surrogateescape" to keep the bytes as they are.'
        )

    def _first_bad_line(self, content: _Content) -> int | None:
        """Read again in pieces, however long the lines are."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        content.rewind()
        while chunk := content.take(_CHUNK_BYTES):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(self.encoding, "ignore")
                return line + before.count("\n")
            except UnicodeError:
                return None
        return None


@final
class _Content(io.RawIOBase):
    """The bytes of an open file, as long as it was at first; who opened the file closes it.

    A file that grows as fast as it is read would never end.
    """

    def __init__(self, name: str, file: int) -> None:
        super().__init__()
        self._name = name
        self._file = file
        self._opened = os.fstat(file)
        self._left = self._opened.st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower
        data = self.take(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def take(self, count: int) -> bytes:
        """The next bytes; none at the end."""
        data = os.read(self._file, min(count, self._left))
        self._left -= len(data)
        return data

    def start(self, count: int) -> bytes:
        """The first bytes; reading begins with them all the same."""
        start = os.read(self._file, count)
        self.rewind()
        return start

    def rewind(self) -> None:
        """Reading begins with the first byte again."""
        os.lseek(self._file, 0, os.SEEK_SET)
        self._left = self._opened.st_size

    def refuse_changed(self) -> None:
        """Refuses a file that is not what it was when it was opened: half of it may be new."""
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) != (self._opened.st_size, self._opened.st_mtime_ns):
            raise ManifestError(
                f"{self._name} was changed while it was read: it had "
                f"{self._opened.st_size:,} bytes and has {now.st_size:,} now. "
                f"Read it again when it is complete."
            )


@contextmanager
def _opened(path: Path, name: str) -> Iterator[_Content]:
    """The content of a plain file; `name` is what messages call it."""
    try:
        # A look is safe, whatever it is; the opening of a device may not be.
        _refuse_other_kinds(name, path.stat().st_mode)
        file = os.open(path, _OPEN_FLAGS)
    except ManifestError:
        raise
    except ValueError:
        raise ManifestError(
            f"{name}: no file can have this name: it contains a NUL, or is no text. Check the path."
        ) from None
    try:
        _refuse_other_kinds(name, os.fstat(file).st_mode)
        yield _Content(name, file)
    finally:
        os.close(file)


def _refuse_other_kinds(name: str, mode: int) -> None:
    kind = other_kind(mode)
    if kind == "a folder":
        raise ManifestError(
            f"{name} is a folder; expected a manifest file. "
            f"For class-named folders use Manifest.from_folders."
        )
    if kind is not None:
        raise ManifestError(
            f"{name} is {kind}; expected a manifest file. "
            f"Write what comes out of it into a file, and pass that."
        )
