"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from infeed.printable import printable

PARTIAL = "partial-"

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON that people can read, also on a terminal.

    What is not visible is written as an escape of JSON, so that it comes back as it was.

    Raises:
        OSError: as `write_whole`.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if not text.replace("\n", "").isprintable():
        # Outside of texts there is nothing but letters of ASCII, spaces and line ends.
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    write_text(path, text + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8; half a surrogate pair, as in names that are no text, as an escape.

    The escape is the one that JSON has for it, so that such a name comes back as it was.

    Raises:
        OSError: as `write_whole`.
    """
    write_whole(path, lambda partial: partial.write_bytes(text.encode("utf-8", "backslashreplace")))


def write_whole(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> None:
    """Lets `write` make the file under another name, and then gives it its own.

    Whoever looks, also after a kill at any instant, finds the old file or the new one.

    Args:
        path: the file; its folder must exist.
        write: gets the path to write to, beside `path` and with the same suffix.
        durable: wait until the disk has it, so that a power failure leaves the old file or
            the new one, too.

    Raises:
        OSError: it cannot be written; names the file and the cure. The old file stays.
    """
    partial = partial_of(path)
    try:
        write(partial)
        if durable:
            _sync(partial)
        os.replace(partial, path)  # noqa: PTH105 - says atomic to whoever reads it
        if durable:
            _sync(path.parent)
    except OSError as error:
        raise OSError(
            f"{printable(str(path))} cannot be written: {error.strerror or error}. "
            f"{_cure(error.errno)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is there
            partial.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """The name of a file that is being made, of nobody else: not in two calls the same."""
    # Beside the final file, because os.replace is atomic within one file system only; with its
    # suffix, because Keras chooses the format by that. The process's number does not tell two
    # threads apart, nor two containers.
    return path.with_name(f"{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


def _cure(number: int | None) -> str:
    if number in _NO_SPACE:
        return "Free some space there, or choose another folder."
    if number in _NO_FILES:
        return "Let this process open more files: raise `ulimit -n`."
    return "Choose another folder."


def remove_partial_files(folder: Path, *, process: int | None = None) -> None:
    """Removes what writers that were killed have left in `folder`; or only what `process` has."""
    for path in folder.glob(f"{PARTIAL}*" if process is None else f"{PARTIAL}{process}-*"):
        with contextlib.suppress(OSError):  # gone already, or somebody else's
            path.unlink()


def _sync(path: Path) -> None:
    """Waits until the disk has a file's contents, or a folder's names."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and needs it less
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
