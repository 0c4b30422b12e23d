"""`read_ifd`: the few tags we need from a TIFF directory, which is what Exif is, too."""

from __future__ import annotations

from typing import Final

_MOST_ENTRIES: Final = 512
_INTEGERS: Final = {1: 1, 3: 2, 4: 4, 16: 8}  # BYTE, SHORT, LONG, LONG8: bytes per value


def read_ifd(data: bytes, start: int, end: int, wanted: frozenset[int]) -> dict[int, int]:
    """The first value of each wanted tag of the first directory; tags that are not there miss.

    Args:
        data: the file.
        start: where in `data` the TIFF structure begins ("II" or "MM"); offsets count from here.
        end: where it ends.
        wanted: tag numbers.

    Never raises: what is broken reads as absent. Looks at `_MOST_ENTRIES` entries at most.
    """
    mark = data[start : start + 4]
    if mark in (b"II*\0", b"MM\0*"):
        big = False
    elif mark in (b"II+\0", b"MM\0+"):
        big = True
    else:
        return {}
    order = "little" if mark[:1] == b"I" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]  # is a literal

    count_size, entry_size, value_at, value_size = (8, 20, 12, 8) if big else (2, 12, 8, 4)
    at = start + (number(start + 8, 8) if big else number(start + 4, 4))
    if at + count_size > end:
        return {}
    found: dict[int, int] = {}
    count = min(number(at, count_size), _MOST_ENTRIES)
    first = at + count_size
    for entry in range(first, min(first + count * entry_size, end - entry_size + 1), entry_size):
        tag = number(entry, 2)
        if tag not in wanted or tag in found:
            continue
        size = _INTEGERS.get(number(entry + 2, 2))
        values = number(entry + 4, value_size)
        if size is None or not values:
            continue
        at = entry + value_at
        if size * values > value_size:
            at = start + number(at, value_size)
        if at + size <= end:
            found[tag] = number(at, size)
    return found
