"""TIFF: its first directory read, and a file with a clean one made of it."""

from __future__ import annotations

import itertools
import struct
from typing import Final, Literal, NamedTuple

import numpy as np

from infeed.errors import DecodeError
from infeed.sample.ifd import read_ifd
from infeed.sample.orientation import ORIENTATION_TAG, UPRIGHT

TIFF_MAGICS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH: Final = 256
_HEIGHT: Final = 257
_BITS: Final = 258
_COMPRESSION: Final = 259
_PHOTOMETRIC: Final = 262
_OFFSETS: Final = 273
_SAMPLES: Final = 277
_ROWS: Final = 278
_COUNTS: Final = 279
_PLANES: Final = 284
_TILE_WIDTH: Final = 322
_TILE_HEIGHT: Final = 323
_TILE_OFFSETS: Final = 324
_TILE_COUNTS: Final = 325
_EXTRA: Final = 338
_FORMAT: Final = 339

# What pixels are made of, and how many values at most. Everything else (Exif, profiles, further
# pages) is left out: Pillow warns of it where it is odd, and walks through it.
_LISTS: Final = frozenset({_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS})
_MOST_VALUES: Final = {
    _WIDTH: 1, _HEIGHT: 1, _BITS: 8, _COMPRESSION: 1, _PHOTOMETRIC: 1, 266: 1, _OFFSETS: 65_536,
    _SAMPLES: 1, _ROWS: 1, _COUNTS: 65_536, _PLANES: 1, 292: 1, 293: 1, 317: 1, 320: 3 << 16,
    _TILE_WIDTH: 1, _TILE_HEIGHT: 1, _TILE_OFFSETS: 65_536, _TILE_COUNTS: 65_536, _EXTRA: 8,
    _FORMAT: 8, 347: 1 << 16, 530: 2,
}  # fmt: skip
_LONGS: Final = frozenset({_WIDTH, _HEIGHT, _ROWS, 292, 293, _TILE_WIDTH, _TILE_HEIGHT}) | _LISTS

_TYPES: Final = {
    1: "u1",
    3: "u2",
    4: "u4",
    7: "u1",
    16: "u8",
}  # BYTE, SHORT, LONG, UNDEFINED, LONG8
_MOST_ENTRIES: Final = 512

# None, CCITT, LZW, JPEG, Deflate twice, PackBits, LZMA, Zstandard. Old-style JPEG is not among
# them: nobody agrees on how it is to be read.
_PLAIN: Final = 1
_COMPRESSIONS: Final = frozenset({_PLAIN, 2, 3, 4, 5, 7, 8, 32946, 32773, 34925, 50000})
_MERGED: Final = frozenset({0, 1, 2, 3, 5})  # grey, RGB, palette, CMYK: a row has no gaps
_MOST_SAMPLES: Final = 6  # for more, Pillow complains in the log
_LARGEST_TILE: Final = 1 << 24

_WANTED: Final = frozenset({_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, ORIENTATION_TAG})


def read_tiff(data: bytes) -> tuple[int, int, int]:
    """(width, height, Exif orientation) of the first page; sides as stored.

    Raises:
        DecodeError: `truncated` or `too_large`.
    """
    tags = read_ifd(data, 0, len(data), _WANTED)
    try:
        width, height = tags[_WIDTH], tags[_HEIGHT]
    except KeyError:
        # The directory may stand at the file's end, so a file cut short ends up here.
        raise DecodeError("the TIFF's first directory has no size", reason="truncated") from None
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
    if tile > _LARGEST_TILE:  # a decoder makes room for a whole one, however small the picture
        raise DecodeError(f"the TIFF has tiles of {tile:,} pixels", reason="too_large")
    orientation = tags.get(ORIENTATION_TAG, UPRIGHT)
    return width, height, orientation if 1 <= orientation <= 8 else UPRIGHT


def strip_tiff(data: bytes) -> bytes:
    """The first page alone, with a directory that says what pixels are made of and no more.

    Its orientation is left out. The parts of pixels that are not packed are put into one, since
    a decoder written in Python takes its time for each.

    Args:
        data: a TIFF that `read_tiff` has read.

    Raises:
        DecodeError: `truncated`, `corrupt`, `unsupported` or `too_large`.
    """
    if len(data) > 0xFFFF_0000:
        raise DecodeError("a TIFF of 4 GiB or more", reason="too_large")
    order = "<" if data[:1] == b"I" else ">"
    width, height, _ = read_tiff(data)
    if not width or not height:
        raise DecodeError("the TIFF has no pixels", reason="corrupt")
    # The size that was held against the budget is the one that the decoder is told.
    tags = _directory(data, order) | {_WIDTH: [width], _HEIGHT: [height]}
    form = _form(tags)
    for tag in (_BITS, _FORMAT):
        values = tags.get(tag, [])
        if len(values) == 1:
            tags[tag] = values * form.samples
        elif values:
            tags[tag] = values[: form.samples]
            if len(values) < form.samples:
                raise DecodeError(
                    f"the TIFF has {form.samples} values a pixel and says of {len(values)} what "
                    f"they are",
                    reason="corrupt",
                )
    is_plain = _check_parts(data, tags, form)
    at_tag, length_tag = (_TILE_OFFSETS, _TILE_COUNTS) if form.tiled else (_OFFSETS, _COUNTS)
    offsets, lengths = tags[at_tag], tags[length_tag]
    view = memoryview(data)
    if not is_plain and sum(lengths) > len(data):
        # Parts that lie in one another; taken apart they could be any number of times the file.
        return _join([view[8:]], tags, order)
    tags[at_tag] = list(itertools.accumulate(lengths[:-1], initial=8))
    if is_plain:
        tags |= {_OFFSETS: [8], _COUNTS: [sum(lengths)], _ROWS: [form.height]}
    parts = [view[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
    return _join(parts, tags, order)


class _Form(NamedTuple):
    width: int
    height: int
    samples: int
    compression: int
    tiled: bool
    planes: int
    """1 where the values of a pixel stand together, else as many as it has."""


def _directory(data: bytes, order: str) -> dict[int, list[int]]:
    """All values of each tag that we keep; those that cannot be read are left out."""
    big = data[2:4] in (b"+\0", b"\0+")
    endian: Literal["little", "big"] = "little" if order == "<" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], endian)

    count_size, entry_size, word = (8, 20, 8) if big else (2, 12, 4)
    at = number(8 if big else 4, word)
    tags: dict[int, list[int]] = {}
    first = at + count_size
    last = first + min(number(at, count_size), _MOST_ENTRIES) * entry_size
    for entry in range(first, min(last, len(data) - entry_size + 1), entry_size):
        tag, kind, count = number(entry, 2), number(entry + 2, 2), number(entry + 4, word)
        most = _MOST_VALUES.get(tag)
        if most is None or tag in tags or kind not in _TYPES or not count:
            continue
        if count > most and tag in _LISTS:
            raise DecodeError(f"the TIFF has its pixels in {count:,} parts", reason="unsupported")
        dtype = np.dtype(order + _TYPES[kind])
        count = min(count, most)
        at = entry + 4 + word
        if count * dtype.itemsize > word:
            at = number(at, word)
        if at + count * dtype.itemsize <= len(data):
            tags[tag] = np.frombuffer(data, dtype, count, at).tolist()
        elif tag in _LISTS:
            raise DecodeError(
                "the TIFF ends before it says where its pixels are", reason="truncated"
            )
    return tags


def _form(tags: dict[int, list[int]]) -> _Form:
    samples = tags.setdefault(_SAMPLES, [1])[0]
    compression = tags.setdefault(_COMPRESSION, [_PLAIN])[0]
    tags.setdefault(_BITS, [1])
    if _PHOTOMETRIC not in tags:
        raise DecodeError("the TIFF does not say what its pixels mean", reason="corrupt")
    if compression not in _COMPRESSIONS:
        raise DecodeError(
            f"the TIFF is packed by method {compression}, which is not read", reason="unsupported"
        )
    if not 1 <= samples <= _MOST_SAMPLES or max(tags[_BITS]) > 64:
        raise DecodeError(
            f"the TIFF has {samples} values of {tags[_BITS]} bits a pixel", reason="unsupported"
        )
    if _EXTRA in tags:
        tags[_EXTRA] = tags[_EXTRA][: samples - 1] or [0]
    return _Form(
        width=tags[_WIDTH][0],
        height=tags[_HEIGHT][0],
        samples=samples,
        compression=compression,
        tiled=_TILE_OFFSETS in tags and _TILE_WIDTH in tags and _TILE_HEIGHT in tags,
        planes=samples if tags.get(_PLANES, [1])[0] == 2 else 1,
    )


def _check_parts(data: bytes, tags: dict[int, list[int]], form: _Form) -> bool:
    """Leaves just as many offsets and lengths in `tags` as there are parts; all must be there.

    Says whether the parts are rows that are not packed, so that they may be put into one.
    """
    rows = min(max(tags.get(_ROWS, [form.height])[0], 1), form.height)
    if form.tiled:
        for tag in (_OFFSETS, _COUNTS, _ROWS):
            tags.pop(tag, None)
        across, down = tags[_TILE_WIDTH][0], tags[_TILE_HEIGHT][0]
        if not across or not down:
            raise DecodeError("the TIFF has tiles without pixels", reason="corrupt")
        count = -(-form.width // across) * -(-form.height // down) * form.planes
        at_tag, length_tag = _TILE_OFFSETS, _TILE_COUNTS
    else:
        for tag in (_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS):
            tags.pop(tag, None)
        tags[_ROWS] = [rows]
        count = -(-form.height // rows) * form.planes
        at_tag, length_tag = _OFFSETS, _COUNTS
    if len(tags.get(at_tag, ())) < count:
        raise DecodeError("the TIFF does not say where all of its pixels are", reason="corrupt")
    offsets = tags[at_tag] = tags[at_tag][:count]
    row = (form.width * sum(tags[_BITS]) + 7) // 8
    merged = (
        not form.tiled
        and form.planes == 1
        and form.compression == _PLAIN
        and tags[_PHOTOMETRIC][0] in _MERGED
    )
    if merged:
        # What is needed counts, not what the file says: writers were seen to err there.
        lengths = [row * rows] * (count - 1) + [row * (form.height - rows * (count - 1))]
    elif len(tags.get(length_tag, ())) >= count:
        lengths = tags[length_tag][:count]
    elif count == 1:
        lengths = [max(len(data) - offsets[0], 0)]
    else:
        raise DecodeError("the TIFF does not say how long its parts are", reason="corrupt")
    tags[length_tag] = lengths
    if any(at + length > len(data) for at, length in zip(offsets, lengths, strict=True)):
        raise DecodeError(
            f"the TIFF ends after {len(data)} bytes, before its last pixel", reason="truncated"
        )
    return merged


def _join(pixels: list[memoryview], tags: dict[int, list[int]], order: str) -> bytes:
    """A header of 8 bytes, `pixels`, and a directory after them."""
    end = 8 + sum(map(len, pixels))
    directory_at = end + end % 2
    entries: list[bytes] = []
    beyond = b""
    beyond_at = directory_at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        values = tags[tag]
        kind, letter = (4, "I") if tag in _LONGS else (7, "B") if tag == 347 else (3, "H")
        limit = 256 ** struct.calcsize(letter)
        if max(values) >= limit:
            raise DecodeError(f"the TIFF's tag {tag} has the value {max(values)}", reason="corrupt")
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(content) > 4:
            shown = struct.pack(order + "I", beyond_at + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
        else:
            shown = content.ljust(4, b"\0")
        entries.append(struct.pack(order + "HHI", tag, kind, len(values)) + shown)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory_at)
    return b"".join(
        (
            head,
            *pixels,
            b"\0" * (directory_at - end),
            struct.pack(order + "H", len(entries)),
            *entries,
            b"\0" * 4,
            beyond,
        )
    )
