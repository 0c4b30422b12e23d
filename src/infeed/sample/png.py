"""PNG: its chunks, read without its pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from infeed.errors import DecodeError
from infeed.sample.orientation import UPRIGHT, read_orientation

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"

# What pixels are made of. All else (colour profiles, texts, times, animations) no decoder here
# lets change a pixel, but libpng warns of it on stderr and unpacks it, however large.
_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

# An encoder that writes IDAT in pieces of 8 KiB needs as many for half a gigabyte.
_MOST_CHUNKS: Final = 65_536


class Chunk(NamedTuple):
    """One chunk: `data[start:end]` holds its length, kind, content and checksum."""

    kind: bytes
    start: int
    end: int


def read_png(data: bytes) -> tuple[int, int, int]:
    """(width, height, Exif orientation) of a PNG that has all of its chunks.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    if data[12:16] != b"IHDR":
        raise DecodeError(
            "the PNG does not begin with IHDR", reason="corrupt" if len(data) >= 16 else "truncated"
        )
    orientation = UPRIGHT
    for kind, start, end in _chunks(data):
        if kind == b"eXIf":
            orientation = read_orientation(data, start + 8, end - 4)
    width = int.from_bytes(data[16:20], "big")
    height = int.from_bytes(data[20:24], "big")
    return width, height, orientation


def strip_png(data: bytes) -> bytes:
    """The PNG with nothing but what its pixels are made of, every checksum looked at.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    view = memoryview(data)
    kept = [view[: len(PNG_MAGIC)]]
    for kind, start, end in _chunks(data):
        if kind not in _PIXEL_CHUNKS:
            continue
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DecodeError(
                f"the PNG's {kind.decode()} chunk at byte {start} does not match its checksum",
                reason="corrupt",
            )
        kept.append(view[start:end])
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[Chunk]:
    at = len(PNG_MAGIC)
    for _ in range(_MOST_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise DecodeError(
                f"the PNG ends after {len(data)} bytes, within a chunk", reason="truncated"
            )
        kind = data[at + 4 : at + 8]
        yield Chunk(kind, at, end)
        if kind == b"IEND":
            return
        at = end
    raise DecodeError(f"the PNG has more than {_MOST_CHUNKS} chunks", reason="corrupt")
