"""Names picked out of an arena."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt

_BLOCK_ROWS: Final = 1 << 15


def gather(
    arena: bytes, offsets: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The arena and the offsets of the names at `positions`, in that order.

    Args:
        arena: n names, one after the other.
        offsets: int64 (n + 1,).
        positions: int64 (k,), each in [0, n).

    Returns:
        The new arena, and int64 (k + 1,).
    """
    letters = np.frombuffer(arena, np.uint8)
    lengths = offsets[positions + 1] - offsets[positions]
    ends = np.zeros(len(positions) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    gathered = BytesIO()
    # In blocks: the index below takes 8 bytes for every byte of the names.
    for start in range(0, len(positions), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        shift = offsets[positions[block]] - ends[:-1][block]
        total = np.arange(ends[start], ends[min(start + _BLOCK_ROWS, len(positions))])
        gathered.write(letters[total + np.repeat(shift, lengths[block])].tobytes())
    return gathered.getvalue(), ends
