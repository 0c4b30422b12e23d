"""One file that holds all of a training run's state: numbers, names and arrays, checksummed.

It is a zip archive: `state.json`, and one `.npy` file for each array, in order (so numpy reads
it as an `.npz`). The archive's comment, at the end of the file, is the CRC-32 of all bytes
before it, in 8 hex digits. Nothing in it is executed when it is read: no pickle.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from infeed.errors import ResumeError
from infeed.whole_file import write_whole

STATE: Final = "state.json"

_CRC_DIGITS: Final = 8
_BLOCK: Final = 1 << 20


class Backup(NamedTuple):
    """What a backup holds.

    Attributes:
        state: whatever JSON holds, NaN included.
        arrays: numbers of any dtype and shape.
    """

    state: dict[str, Any]
    arrays: list[np.ndarray]


def write_backup(path: Path, state: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Writes a backup, which replaces the one at `path` when it is on the disk.

    A kill or a power failure at any instant leaves the old one or the new one, whole.

    Raises:
        OSError: it cannot be written. The old one stays.
    """

    def write(partial: Path) -> None:
        try:
            _write_archive(partial, {**state, "dtypes": [str(a.dtype) for a in arrays]}, arrays)
        except ValueError as error:
            # Ctrl-C between the opening of a member and its use: ZipFile complains of the open
            # member, over the interruption.
            if error.__context__ is None or isinstance(error.__context__, Exception):
                raise
            raise error.__context__ from None
        checksum, end = _checksum(partial)
        with partial.open("r+b") as file:
            file.seek(end)
            file.write(checksum)

    write_whole(path, write, durable=True)


def read_backup(path: Path) -> Backup:
    """Reads what `write_backup` wrote, and checks every byte of it.

    Raises:
        FileNotFoundError: there is none.
        ResumeError: it is damaged, or no backup.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise ResumeError(f"{path} is a folder, not a backup. Remove it to start anew.")
    checksum, end = _checksum(path)
    with path.open("rb") as file:
        file.seek(end)
        if file.read() != checksum:
            raise ResumeError(
                f"{path} is damaged, or is no backup of infeed: its checksum is wrong. Remove it "
                "to start anew."
            )
    try:
        with zipfile.ZipFile(path) as archive:
            state = json.loads(archive.read(STATE))
            arrays = []
            for number, dtype in enumerate(state.pop("dtypes")):
                with archive.open(f"{number}.npy") as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                arrays.append(array if str(array.dtype) == dtype else array.view(dtype))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ResumeError(f"{path} is no backup of infeed: {error}. Remove it.") from error
    return Backup(state, arrays)


def _write_archive(path: Path, state: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(STATE, json.dumps(state))
        for number, array in enumerate(arrays):
            # Whether it will be larger than 2 GiB, zip wants to know before.
            with archive.open(f"{number}.npy", "w", force_zip64=True) as member:
                # bfloat16 and its like are foreign to numpy's format: their bytes are not.
                plain = array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
                np.lib.format.write_array(member, plain, allow_pickle=False)
        archive.comment = bytes(_CRC_DIGITS)


def _checksum(path: Path) -> tuple[bytes, int]:
    """The checksum that belongs at the end of a file, and where that end begins."""
    crc, rest = 0, max(0, path.stat().st_size - _CRC_DIGITS)
    end = rest
    with path.open("rb") as file:
        while rest and (block := file.read(min(rest, _BLOCK))):
            crc = zlib.crc32(block, crc)
            rest -= len(block)
    return f"{crc:0{_CRC_DIGITS}x}".encode(), end
