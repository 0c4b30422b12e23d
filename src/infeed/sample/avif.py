"""`read_avif`: size and orientation out of the boxes of an AVIF file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infeed.errors import DecodeError
from infeed.sample.av1 import read_frame_size
from infeed.sample.orientation import UPRIGHT

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_MOST_BOXES: Final = 1024
_MOST_EXTENTS: Final = 8192
_READ_OF_AN_ITEM: Final = 4096
_LARGEST_SMALL_TILE: Final = 1 << 20

# Exif orientation for (quarter turns anticlockwise by irot, axis of imir or None); imir is done
# after irot. Axis 0 exchanges top and bottom, axis 1 left and right.
_ORIENTATIONS: Final = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
}  # fmt: skip


def read_avif(data: bytes) -> tuple[int, int, int]:
    """(width, height, Exif orientation) of the primary picture; sides as stored.

    The orientation is that of the properties `irot` and `imir`: by the standard they alone
    count, and an Exif block within the file does not.

    Raises:
        DecodeError: `not_an_image`, `unsupported` (HEIC), `truncated` or `corrupt`.
    """
    ftyp_end = int.from_bytes(data[:4], "big")
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, min(ftyp_end, 512), 4)}
    if not brands & _AVIF_BRANDS:
        if brands & _HEIC_BRANDS:
            raise DecodeError(
                "an HEIC (iPhone) picture, which no decoder here reads. Convert it to JPEG, "
                "for example with `heif-convert` or `sips -s format jpeg`.",
                reason="unsupported",
            )
        raise DecodeError(
            f"a media file of brand {data[8:12]!r}, not a still picture", reason="not_an_image"
        )
    if not ftyp_end <= len(data):
        raise DecodeError("the AVIF ends within its first box", reason="truncated")
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            width, height, orientation = _read_meta(data, start + 4, end)
            _check_frames(data, start + 4, end, width * height)
            return width, height, orientation
    raise DecodeError("the AVIF has no complete 'meta' box", reason="truncated")


def strip_avif(data: bytes) -> bytes:
    """The AVIF as a still picture, without the Exif block, which Pillow reads, and warns of.

    Of an animation that leaves the main picture, whose size `read_avif` gave, and not the tracks,
    which can have another.

    Args:
        data: an AVIF that `read_avif` has read.
    """
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            # Nothing moves: the block stays where it is, as an item of a kind nobody knows.
            meta = data[start:end].replace(b"Exif", b"skip")
            return b"".join((data[:8], b"avif", data[12:start], meta, data[end:]))
    return data


def _read_meta(data: bytes, start: int, end: int) -> tuple[int, int, int]:
    primary: int | None = None
    properties: list[tuple[bytes, int, int]] = []
    associations: tuple[int, int] | None = None
    for kind, at, after in _boxes(data, start, end):
        if kind == b"pitm":
            wide = data[at : at + 1] != b"\0"
            primary = int.from_bytes(data[at + 4 : at + (8 if wide else 6)], "big")
        elif kind == b"iprp":
            for inner, inner_at, inner_after in _boxes(data, at, after):
                if inner == b"ipco":
                    properties = list(_boxes(data, inner_at, inner_after))
                elif inner == b"ipma" and associations is None and inner_after - inner_at >= 8:
                    associations = (inner_at, inner_after)
    if primary is None or associations is None:
        raise DecodeError("the AVIF does not say which picture is the main one", reason="corrupt")
    width = height = turns = 0
    axis: int | None = None
    for index in _associated(data, *associations, primary):
        if not 1 <= index <= len(properties):
            continue
        kind, at, after = properties[index - 1]
        if kind == b"ispe" and after - at >= 12:
            width = int.from_bytes(data[at + 4 : at + 8], "big")
            height = int.from_bytes(data[at + 8 : at + 12], "big")
        elif kind == b"irot" and after > at:
            turns = data[at] & 3
        elif kind == b"imir" and after > at:
            axis = data[at] & 1
    if not width or not height:
        raise DecodeError("the AVIF's main picture has no size", reason="corrupt")
    return width, height, _ORIENTATIONS.get((turns, axis), UPRIGHT)


def _check_frames(data: bytes, start: int, end: int, pixels: int) -> None:
    """Refuses a picture whose AV1 frames are larger than it says: a decoder would make them first.

    Raises:
        DecodeError: `corrupt`.
    """
    stored = at_items = 0
    coded: set[int] = set()
    for kind, at, after in _boxes(data, start, end):
        if kind == b"idat":
            stored = at
        elif kind == b"iloc":
            at_items = at
        elif kind == b"iinf":
            first = at + (6 if data[at : at + 1] == b"\0" else 8)
            for inner, inner_at, _ in _boxes(data, first, after):
                id_size = 2 if data[inner_at : inner_at + 1] == b"\2" else 4
                type_at = inner_at + 4 + id_size + 2
                if inner == b"infe" and data[type_at : type_at + 4] == b"av01":
                    number = data[inner_at + 4 : inner_at + 4 + id_size]
                    coded.add(int.from_bytes(number, "big"))
    for item, beginning in _beginnings(data, at_items, end, stored):
        if item not in coded:
            continue
        size = read_frame_size(beginning)
        if size is None:
            raise DecodeError("the AVIF has a picture without a sequence header", reason="corrupt")
        # A tile of several may be larger than the whole, but not by much.
        if size[0] * size[1] > 2 * pixels + _LARGEST_SMALL_TILE:
            raise DecodeError(
                f"the AVIF says {pixels:,} pixels, and holds frames of {size[0]} x {size[1]}",
                reason="corrupt",
            )


def _beginnings(data: bytes, at: int, end: int, stored: int) -> Iterator[tuple[int, bytes]]:
    """(item, its first bytes) for each that the box `iloc` at `at` places in the file."""

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : min(at, end)], "big")

    if not at:
        return
    version = number(4) >> 24
    sizes = number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    extents_left = _MOST_EXTENTS
    for _ in range(min(number(4 if version == 2 else 2), _MOST_BOXES)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size) + (stored if method == 1 else 0)
        beginning = b""
        extents = min(number(2), extents_left)
        extents_left -= extents
        for _ in range(extents):
            number(index_size)
            first, length = base + number(offset_size), number(length_size)
            missing = _READ_OF_AN_ITEM - len(beginning)
            beginning += data[first : first + min(length or missing, missing)]
        if at > end:
            return
        yield item, beginning


def _associated(data: bytes, start: int, end: int, item: int) -> list[int]:
    """The 1-based property numbers that the box `ipma` gives to `item`."""
    wide_item = data[start] > 0
    wide_index = data[start + 3] & 1
    count = int.from_bytes(data[start + 4 : start + 8], "big")
    item_size, index_size = (4 if wide_item else 2), (2 if wide_index else 1)
    at = start + 8
    for _ in range(min(count, _MOST_BOXES)):
        if at + item_size + 1 > end:
            break
        number = int.from_bytes(data[at : at + item_size], "big")
        indexes = data[at + item_size]
        at += item_size + 1
        if number == item:
            # The first bit says "essential".
            mask = 0x7FFF if wide_index else 0x7F
            stop = min(at + indexes * index_size, end - index_size + 1)
            return [
                int.from_bytes(data[place : place + index_size], "big") & mask
                for place in range(at, stop, index_size)
            ]
        at += indexes * index_size
    return []


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start of content, end) of each complete box between `start` and `end`."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size = int.from_bytes(data[at : at + 4], "big")
        content = at + 8
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
            content = at + 16
        elif size == 0:
            size = end - at
        if at + size < content or at + size > end:
            return
        yield data[at + 4 : at + 8], content, at + size
        at += size
