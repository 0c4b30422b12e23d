"""How a camera was held: the Exif orientation, read and undone."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from infeed.sample.ifd import read_ifd
from infeed.sample.scratch import Scratch

UPRIGHT: Final = 1
"""The orientation of a picture whose pixels are stored as they are to be seen."""

ORIENTATION_TAG: Final = 0x0112
_WANTED: Final = frozenset({ORIENTATION_TAG})

_FLIPS: Final = {2: 1, 3: -1, 4: 0}
_ROTATIONS: Final = {6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def read_orientation(data: bytes, start: int, end: int) -> int:
    """1..8 out of an Exif block; 1 where it says nothing or nonsense.

    Args:
        data: the file.
        start: where the block's TIFF structure begins, after any "Exif" and two NULs.
        end: where the block ends.
    """
    value = read_ifd(data, start, end, _WANTED).get(ORIENTATION_TAG, UPRIGHT)
    return value if 1 <= value <= 8 else UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change places when the picture is turned upright."""
    return orientation >= 5


def turn_upright(
    image: npt.NDArray[np.uint8], orientation: int, scratch: Scratch
) -> npt.NDArray[np.uint8]:
    """The picture as it is to be seen; `image` itself where it already is.

    Args:
        image: uint8 (height, width, channels) or (height, width); not modified.
        orientation: 1..8, as in Exif.
        scratch: where the turned picture is written.
    """
    if orientation == UPRIGHT:
        return image
    height, width = image.shape[:2]
    sides = (width, height) if swaps_sides(orientation) else (height, width)
    turned = scratch.turned(sides + image.shape[2:])
    made: npt.NDArray[np.uint8]
    if orientation in _FLIPS:
        made = cv2.flip(image, _FLIPS[orientation], dst=turned)
    elif orientation in _ROTATIONS:
        made = cv2.rotate(image, _ROTATIONS[orientation], dst=turned)
    else:
        made = cv2.transpose(image, dst=turned)
        if orientation == 7:  # the other diagonal is half a turn after that
            made = cv2.flip(made, -1, dst=made)
    return made
