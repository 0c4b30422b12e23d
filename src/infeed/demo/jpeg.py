"""The JPEG file that a camera or phone would have stored."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

_ORIENTATION_TAG: Final = 0x0112

# Quarter turns, anticlockwise, from the upright picture to the pixels that are stored.
_TURNS: Final = {1: 0, 3: 2, 6: 1}


def encode_jpeg(picture: npt.NDArray[np.uint8], *, quality: int, orientation: int = 1) -> bytes:
    """The file, with colour at half the resolution (4:2:0).

    Args:
        picture: uint8 (height, width, 3), RGB, upright.
        quality: 1..95.
        orientation: the EXIF value: 1 upright, 3 upside down, 6 turned by a quarter. The
            pixels are stored turned, so that who obeys the value sees `picture`.

    Raises:
        ValueError: the orientation is none of the three.
    """
    if orientation not in _TURNS:
        raise ValueError(f"orientation must be one of {list(_TURNS)}, got {orientation}")
    stored = np.ascontiguousarray(np.rot90(picture, _TURNS[orientation]))
    exif = Image.Exif()
    if orientation != 1:
        exif[_ORIENTATION_TAG] = orientation
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=quality, subsampling="4:2:0", exif=exif)
    return buffer.getvalue()
