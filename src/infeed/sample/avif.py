"""`read_avif`: size and orientation out of the boxes of an AVIF file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infeed.errors import DecodeError
from infeed.sample.orientation import UPRIGHT

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_MOST_BOXES: Final = 1024

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
            return _read_meta(data, start + 4, end)
    raise DecodeError("the AVIF has no complete 'meta' box", reason="truncated")


def strip_avif(data: bytes) -> bytes:
    """The AVIF without its Exif block, which Pillow reads, and warns of where it is odd.

    Args:
        data: an AVIF that `read_avif` has read.
    """
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            # Nothing moves: the block stays where it is, as an item of a kind nobody knows.
            return data[:start] + data[start:end].replace(b"Exif", b"skip") + data[end:]
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
