"""PNG: its chunks read, and a clean one made of them that decoders take in silence."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from infeed.errors import DecodeError
from infeed.sample.orientation import UPRIGHT, read_orientation

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"

# An encoder that writes IDAT in pieces of 8 KiB needs as many for half a gigabyte.
_MOST_CHUNKS: Final = 65_536

_PIXEL_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

_PALETTE: Final = 3
# Channels and depths in bits, by colour type.
_FORMS: Final = {
    0: (1, frozenset({1, 2, 4, 8, 16})),
    2: (3, frozenset({8, 16})),
    _PALETTE: (1, frozenset({1, 2, 4, 8})),
    4: (2, frozenset({8, 16})),
    6: (4, frozenset({8, 16})),
}
_LAST_FILTER: Final = 4
# Adam7: top, left, and the steps down and across of each pass.
_PASSES: Final = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4),
    (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
)  # fmt: skip
_BLOCK: Final = 65_535  # the most that zlib stores in one block


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


def strip_png(data: bytes, *, keep_transparency: bool) -> bytes:
    """The PNG rebuilt of what its pixels are made of, so that no decoder has a complaint left.

    Profiles, texts, times and animations change no pixel, but libpng warns of them on stderr
    and unpacks them, however large. It also speaks of packed pixels that are damaged, so they
    are unpacked here, looked at, and handed on unpacked: that costs a copy, and the decoder is
    the faster for it. What is unpacked is bounded by the size in the header.

    Args:
        data: a PNG that `read_png` has read.
        keep_transparency: whether `tRNS`, the transparency of colours, is kept.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    view = memoryview(data)
    header = b""
    palette: memoryview | None = None
    transparency: memoryview | None = None
    packed: list[memoryview] = []
    for kind, start, end in _chunks(data):
        if kind not in _PIXEL_CHUNKS:
            continue
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DecodeError(
                f"the PNG's {kind.decode()} chunk at byte {start} does not match its checksum",
                reason="corrupt",
            )
        content = view[start + 8 : end - 4]
        if kind == b"IDAT":
            packed.append(content)
        elif kind == b"IHDR":
            header = header or bytes(content)
        elif kind == b"PLTE":
            palette = content if palette is None else palette
        elif kind == b"tRNS":
            transparency = content if transparency is None else transparency
    form = _Form(header)
    kept: list[bytes | memoryview] = [PNG_MAGIC, _chunk(b"IHDR", header)]
    if form.color_type == _PALETTE:
        colors = bytes(palette or b"")[: 3 << form.depth]
        if not colors or len(colors) % 3:
            raise DecodeError(f"the PNG has a palette of {len(colors)} bytes", reason="corrupt")
        # An index beyond the palette is black, for libpng too; but it would say so.
        kept.append(_chunk(b"PLTE", colors.ljust(3 << form.depth, b"\0")))
    most = {0: 2, 2: 6, _PALETTE: 1 << form.depth}.get(form.color_type, 0)
    if keep_transparency and transparency is not None:
        length = len(transparency)
        if length == most or (form.color_type == _PALETTE and 0 < length < most):
            kept.append(_chunk(b"tRNS", bytes(transparency)))
    kept += _stored(_unpacked(b"".join(packed), form))
    kept.append(_chunk(b"IEND", b""))
    return b"".join(kept)


class _Form:
    """What the header chunk says of the packed pixels.

    Raises:
        DecodeError: `corrupt`: no such PNG can be.
    """

    def __init__(self, header: bytes) -> None:
        if len(header) != 13:
            raise DecodeError(f"the PNG's header has {len(header)} bytes", reason="corrupt")
        self.width = int.from_bytes(header[:4], "big")
        self.height = int.from_bytes(header[4:8], "big")
        self.depth, self.color_type, packing, filters, interlacing = header[8:]
        channels, depths = _FORMS.get(self.color_type, (0, frozenset()))
        if self.depth not in depths or packing or filters or interlacing > 1:
            raise DecodeError(
                f"the PNG has pixels of kind {tuple(header[8:])}, which do not exist",
                reason="corrupt",
            )
        passes = _PASSES if interlacing else ((0, 0, 1, 1),)
        self.parts: list[tuple[int, int]] = []
        """(rows, bytes a row with its filter) of each pass that has pixels."""
        for top, left, down, across in passes:
            rows = (self.height - top + down - 1) // down
            columns = (self.width - left + across - 1) // across
            if rows > 0 and columns > 0:
                self.parts.append((rows, (columns * channels * self.depth + 7) // 8 + 1))


def _unpacked(packed: bytes, form: _Form) -> bytes:
    """The rows, each behind its filter byte; bytes beyond them are left out.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    size = sum(rows * row for rows, row in form.parts)
    if size > sys.maxsize:
        raise DecodeError(f"the PNG's pixels have {size:,} bytes", reason="too_large")
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(packed, size)
        if len(raw) == size and not unpacking.eof:
            # The checksum follows the last pixel; it is met by asking for more.
            unpacking.decompress(unpacking.unconsumed_tail, 1)
    except zlib.error as error:
        raise DecodeError(
            f"the PNG's pixels cannot be unpacked: {error}", reason="corrupt"
        ) from error
    if len(raw) < size:
        raise DecodeError(
            f"the PNG's pixels should unpack to {size} bytes and give {len(raw)}",
            reason="corrupt" if unpacking.eof else "truncated",
        )
    at = 0
    for rows, row in form.parts:
        filters = np.frombuffer(raw, np.uint8, rows * row, at)[::row]
        if filters.max() > _LAST_FILTER:
            raise DecodeError(
                f"the PNG has a row with filter {filters.max()}, which does not exist",
                reason="corrupt",
            )
        at += rows * row
    return raw


def _stored(raw: bytes) -> list[bytes | memoryview]:
    """`raw` as IDAT chunks that hold it unpacked, in the blocks that zlib has for that."""
    view = memoryview(raw)
    blocks: list[bytes | memoryview] = [b"\x78\x01"]
    for at in range(0, len(raw), _BLOCK):
        block = view[at : at + _BLOCK]
        is_last = at + _BLOCK >= len(raw)
        blocks.append(struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF))
        blocks.append(block)
    blocks.append(struct.pack(">I", zlib.adler32(raw)))
    chunks: list[bytes | memoryview] = []
    # A chunk is at most 2 GiB long; 1,024 blocks are 64 MiB.
    for first in range(0, len(blocks), 2048):
        parts = blocks[first : first + 2048]
        checksum = zlib.crc32(b"IDAT")
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        chunks.append(struct.pack(">I", sum(map(len, parts))) + b"IDAT")
        chunks += parts
        chunks.append(struct.pack(">I", checksum))
    return chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    return struct.pack(">I", len(content)) + kind + content + checksum


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
