"""Image names that occur more than once, found through their 64-bit hashes."""

from __future__ import annotations

from array import array
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

Duplicates = Literal["raise", "keep", "drop"]

DUPLICATES: Final[tuple[str, ...]] = get_args(Duplicates)


def repeated_names(
    arena: bytes, offsets: npt.NDArray[np.int64], hashes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows whose name an earlier row has, and those earlier rows.

    Args:
        arena: the names, one after the other.
        offsets: int64 (n + 1,), where each name begins in `arena`, and its end.
        hashes: int64 (n,), equal for equal names; any hash will do, since equal hashes are
            compared byte for byte.

    Returns:
        Two int64 (k,): the rows, ascending, and for each the first row with its name.

    A few sorted integers per name, where a set of a million names would take 100 MB.
    """
    ordered = np.sort(hashes)
    if not np.any(ordered[1:] == ordered[:-1]):
        return np.empty(0, np.int64), np.empty(0, np.int64)

    # Stable, so that rows of equal hash stay in their order and the first comes first.
    rows = np.argsort(hashes, kind="stable")
    ordered = hashes[rows]
    suspects = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    repeats, earlier = array("q"), array("q")  # not a list: all names may be the same one
    firsts: dict[bytes, int] = {}
    previous = -1
    for at in map(int, suspects):
        if at != previous + 1:  # another hash: its first row is no suspect itself
            first = int(rows[at - 1])
            firsts = {arena[offsets[first] : offsets[first + 1]]: first}
        row = int(rows[at])
        first = firsts.setdefault(arena[offsets[row] : offsets[row + 1]], row)
        if first != row:
            repeats.append(row)
            earlier.append(first)
        previous = at
    repeated = np.array(repeats, np.int64)
    ascending = np.argsort(repeated)
    return repeated[ascending], np.array(earlier, np.int64)[ascending]
