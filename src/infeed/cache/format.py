"""The bytes of a segment file: header, table of entries, images. `README.md` draws them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt
import xxhash

FORMAT_VERSION: Final = 1
MAGIC: Final = b"infeedsg"
SUFFIX: Final = ".seg"

HEADER_BYTES: Final = 4096
_HEADER: Final = struct.Struct("<8sII16s16sIIQQQI4x")
_SEALED: Final = HEADER_BYTES - 8  # the last 8 bytes are the checksum of these
LONGEST_DESCRIPTION: Final = _SEALED - _HEADER.size

KEY_BYTES: Final = 16
ENTRY_BYTES: Final = 48
_ENTRY: Final = struct.Struct("<16sQI4xQ")
_CHECKED: Final = ENTRY_BYTES - 8
_CHECK: Final = struct.Struct("<Q")
ENTRY_TYPE: Final = np.dtype(
    [
        ("hi", "<u8"),
        ("lo", "<u8"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("reserved", "<u4"),
        ("checksum", "<u8"),
        ("check", "<u8"),
    ]
)
assert ENTRY_TYPE.itemsize == ENTRY_BYTES


class FormatError(Exception):
    """A file is no segment that this version reads.

    Attributes:
        is_newer: whether a later version of infeed may read it.
        is_empty: whether nothing of it ever came to the disk, or nothing is left.
    """

    def __init__(self, message: str, *, is_newer: bool = False, is_empty: bool = False) -> None:
        super().__init__(message)
        self.is_newer = is_newer
        self.is_empty = is_empty


@final
@dataclass(frozen=True, slots=True)
class Header:
    """The first 4096 bytes of a segment.

    Attributes:
        segment_id: 16 random bytes; the file is named after them.
        store_id: 16 bytes, of the store that it belongs to.
        entries: rows of the table.
        slot_bytes: of each image, where all have the same size; 0 where they have not.
        data_at: where the first image may lie.
        file_bytes: the size that is reserved for the file when it is written to.
        description: the store's, for whoever finds the file alone.
    """

    segment_id: bytes
    store_id: bytes
    entries: int
    slot_bytes: int
    data_at: int
    file_bytes: int
    description: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """What the check of an entry is seeded with, so that it holds in this segment alone."""
        return int.from_bytes(self.segment_id[:8], "little")

    def pack(self) -> bytes:
        """The 4096 bytes."""
        text = json.dumps(self.description, sort_keys=True).encode()
        if len(text) > LONGEST_DESCRIPTION:
            raise ValueError(f"a description has at most {LONGEST_DESCRIPTION} bytes: {text!r}")
        head = _HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            HEADER_BYTES,
            self.segment_id,
            self.store_id,
            self.entries,
            self.slot_bytes,
            HEADER_BYTES,
            self.data_at,
            self.file_bytes,
            len(text),
        )
        sealed = (head + text).ljust(_SEALED, b"\0")
        return sealed + _CHECK.pack(xxhash.xxh3_64_intdigest(sealed))

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header that `pack` wrote.

        Raises:
            FormatError: it is none, damaged, or of another version.
        """
        if len(data) < HEADER_BYTES or not any(data):
            raise FormatError("it has no header", is_empty=True)
        if data[:8] != MAGIC:
            raise FormatError("it does not begin as a segment")
        version = int.from_bytes(data[8:12], "little")
        if version > FORMAT_VERSION:
            raise FormatError(
                f"it has format version {version}, and this infeed reads {FORMAT_VERSION}",
                is_newer=True,
            )
        sealed = data[:_SEALED]
        if _CHECK.unpack_from(data, _SEALED)[0] != xxhash.xxh3_64_intdigest(sealed):
            raise FormatError("its header is damaged")
        _, _, _, segment_id, store_id, entries, slot, _, data_at, size, length = (
            _HEADER.unpack_from(sealed)
        )
        text = sealed[_HEADER.size : _HEADER.size + length]
        try:
            description = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"its description is not JSON: {error}") from None
        if not isinstance(description, dict):
            raise FormatError("its description is no object of JSON")
        return cls(segment_id, store_id, entries, slot, data_at, size, description)


def pack_entry(key: bytes, offset: int, length: int, checksum: int, seed: int) -> bytes:
    """The 48 bytes of a table row.

    Args:
        key: 16 bytes: which image.
        offset: of its bytes in the file.
        length: of its bytes.
        checksum: XXH3-64 of these.
        seed: `Header.seed`.
    """
    checked = _ENTRY.pack(key, offset, length, checksum)
    return checked + _CHECK.pack(xxhash.xxh3_64_intdigest(checked, seed))


def valid_rows(table: npt.NDArray[np.void], seed: int) -> npt.NDArray[np.int64]:
    """The numbers of the rows that hold an entry whose check is right.

    Args:
        table: of `ENTRY_TYPE`.
        seed: `Header.seed`.
    """
    used = np.flatnonzero(table["length"])
    view = memoryview(table.tobytes())
    checks = table["check"][used].tolist()
    digest = xxhash.xxh3_64_intdigest
    right = [
        digest(view[at : at + _CHECKED], seed) == check
        for at, check in zip((used * ENTRY_BYTES).tolist(), checks, strict=True)
    ]
    rows: npt.NDArray[np.int64] = used[np.array(right, bool)]
    return rows


def free_rows(table: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """The numbers of the rows that were never written, or given back: all their bytes are 0."""
    words = table.view(np.uint64).reshape(len(table), ENTRY_BYTES // 8)
    return np.flatnonzero(~words.any(axis=1))


def checksum(data: Any) -> int:
    """XXH3-64, seed 0, of a buffer: what an entry keeps of an image's bytes."""
    return xxhash.xxh3_64_intdigest(data)
