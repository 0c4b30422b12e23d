"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON that people can read.

    Raises:
        OSError: as `write_whole`.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8; half a surrogate pair, as in names that are no text, as an escape.

    The escape is the one that JSON has for it, so that such a name comes back as it was.

    Raises:
        OSError: as `write_whole`.
    """
    write_whole(path, lambda partial: partial.write_bytes(text.encode("utf-8", "backslashreplace")))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make the file, which is there whole or not at all.

    Raises:
        OSError: it cannot be written; names the file and the cure.
    """
    # Beside the final file, because os.replace is atomic within one file system only; with its
    # suffix, because Keras chooses the format by that.
    partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        os.replace(partial, path)  # noqa: PTH105 - says atomic to whoever reads it
    except OSError as error:
        raise OSError(
            f"{path} cannot be written: {error.strerror or error}. Free some space there, or "
            "choose another folder."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
