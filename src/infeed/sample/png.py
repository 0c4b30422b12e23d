"""PNG: its chunks read, and a clean one made of them that decoders take in silence."""

from __future__ import annotations

import struct
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
_MOST_ROWS: Final = 1 << 22  # libpng takes 40 ns for each, however short
_LAST_FILTER: Final = 4
# Adam7: top, left, and the steps down and across of each pass.
_PASSES: Final = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4),
    (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
)  # fmt: skip
_BLOCK: Final = 65_535  # the most that zlib stores in one block
_CHUNK: Final = 1 << 26  # a chunk may have 2 GiB
_FED: Final = 1 << 16
_PIECE: Final = 1 << 18


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


def strip_png(data: bytes, *, keep_transparency: bool) -> bytearray:
    """The PNG rebuilt of what its pixels are made of, so that no decoder has a complaint left.

    Profiles, texts, times and animations change no pixel, but libpng warns of them on stderr
    and unpacks them, however large. It also speaks of packed pixels that are damaged, so they
    are unpacked here, looked at, and handed on unpacked: that costs a copy, and the decoder is
    the faster for it. What is unpacked is bounded by the size in the header.

    Args:
        data: a PNG that `read_png` has read.
        keep_transparency: whether `tRNS`, the transparency of colours, is kept.

    Raises:
        DecodeError: `truncated`, `corrupt` or `unsupported`.
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
    out = bytearray(b"".join(kept))
    _repack(packed, form, out)
    return out + _chunk(b"IEND", b"")


class _Form:
    """What the header chunk says of the packed pixels.

    Raises:
        DecodeError: `corrupt`: no such PNG can be; `unsupported`: it is too tall.
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
        if self.height > _MOST_ROWS:
            raise DecodeError(f"a PNG of {self.height:,} rows", reason="unsupported")
        passes = _PASSES if interlacing else ((0, 0, 1, 1),)
        self.parts: list[tuple[int, int]] = []
        """(rows, bytes a row with its filter) of each pass that has pixels."""
        for top, left, down, across in passes:
            rows = (self.height - top + down - 1) // down
            columns = (self.width - left + across - 1) // across
            if rows > 0 and columns > 0:
                self.parts.append((rows, (columns * channels * self.depth + 7) // 8 + 1))


def _repack(packed: list[memoryview], form: _Form, out: bytearray) -> None:
    """Appends the rows as IDAT chunks that hold them unpacked, in the blocks zlib has for that.

    Bytes beyond the last row are left out. The rows are gone through in pieces that stay in the
    processor's cache, so that no second copy of the picture is made.

    Raises:
        DecodeError: `truncated` or `corrupt`.
    """
    rows = _Unpacker(packed)
    writer = _Writer(out)
    parts = [(count, row) for count, row in form.parts if count]
    for number, (count, row) in enumerate(parts):
        at_once = max(_PIECE // row, 1)
        for first in range(0, count, at_once):
            taken = min(at_once, count - first)
            piece = rows.read(taken * row)
            filters = np.frombuffer(piece, np.uint8)[::row]
            if filters.max() > _LAST_FILTER:
                raise DecodeError(
                    f"the PNG has a row with filter {filters.max()}, which does not exist",
                    reason="corrupt",
                )
            writer.write(piece, is_last=number == len(parts) - 1 and first + taken == count)
    rows.check_end()


class _Unpacker:
    """The bytes of a zlib stream, so many at a time and never more."""

    def __init__(self, packed: list[memoryview]) -> None:
        self._pieces = (part[at : at + _FED] for part in packed for at in range(0, len(part), _FED))
        self._rest: bytes | memoryview = b""
        self._stream = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        found = self._next(size)
        if len(found) == size:
            return found
        parts = [found]
        missing = size - len(found)
        while missing:
            if not self._rest:
                self._rest = next(self._pieces, b"")
            is_over = self._stream.eof or not self._rest
            part = b"" if is_over else self._next(missing)
            if is_over:
                raise DecodeError(
                    f"the PNG's pixels end {missing} bytes early",
                    reason="corrupt" if self._stream.eof else "truncated",
                )
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def check_end(self) -> None:
        """Meets the stream's checksum, where it follows the last row."""
        while not self._stream.eof:
            self._rest = self._rest or next(self._pieces, b"")
            # One byte more is asked for: what has more is no damage, and none of our business.
            if not self._rest or self._next(1):
                return

    def _next(self, size: int) -> bytes:
        try:
            found = self._stream.decompress(self._rest, size)
        except zlib.error as error:
            raise DecodeError(
                f"the PNG's pixels cannot be unpacked: {error}", reason="corrupt"
            ) from error
        self._rest = self._stream.unconsumed_tail
        return found


class _Writer:
    """Appends IDAT chunks to a PNG that hold bytes as they are."""

    def __init__(self, out: bytearray) -> None:
        self._out = out
        self._checksum = 1
        self._begin()
        self._append(b"\x78\x01")

    def write(self, data: bytes, *, is_last: bool) -> None:
        """Appends `data`, and after the last of it what ends the stream."""
        view = memoryview(data)
        self._checksum = zlib.adler32(data, self._checksum)
        for at in range(0, len(data), _BLOCK):
            block = view[at : at + _BLOCK]
            ends = is_last and at + _BLOCK >= len(data)
            self._append(struct.pack("<BHH", ends, len(block), len(block) ^ 0xFFFF))
            self._append(block)
        if is_last:
            self._append(struct.pack(">I", self._checksum))
        if is_last or len(self._out) - self._start > _CHUNK:
            self._end()
        if not is_last and not self._start:
            self._begin()

    def _begin(self) -> None:
        self._out += b"\0\0\0\0IDAT"
        self._start = len(self._out)
        self._crc = zlib.crc32(b"IDAT")

    def _append(self, part: bytes | memoryview) -> None:
        self._crc = zlib.crc32(part, self._crc)
        self._out += part

    def _end(self) -> None:
        length = len(self._out) - self._start
        self._out[self._start - 8 : self._start - 4] = struct.pack(">I", length)
        self._out += struct.pack(">I", self._crc)
        self._start = 0


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
