"""How a picture of any size comes to fill the recipe's rectangle."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from infeed.sample.recipe import Recipe

_FILTERS: Final = {
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


class Window(NamedTuple):
    """A rectangle of whole pixels."""

    top: int
    left: int
    height: int
    width: int


def source_window(height: int, width: int, recipe: Recipe) -> Window:
    """The part of a picture that is seen: all of it, unless the recipe crops.

    Cropped, it is the largest centred one with the recipe's aspect ratio, rounded as
    `keras.preprocessing.image.smart_resize` rounds.

    >>> source_window(340, 500, Recipe(height=200, width=200, fit="crop"))
    Window(top=0, left=80, height=340, width=340)
    """
    if recipe.fit != "crop":
        return Window(0, 0, height, width)
    # In floating point, as Keras does: a whole number would be rounded otherwise now and then.
    rows = max(min(height, int(float(width * recipe.height) / recipe.width)), 1)
    columns = max(min(width, int(float(height * recipe.width) / recipe.height)), 1)
    return Window((height - rows) // 2, (width - columns) // 2, rows, columns)


def target_window(height: int, width: int, recipe: Recipe) -> Window:
    """The part of the result that a picture fills: all of it, unless the recipe pads.

    Padded, it is centred and touches two opposite sides; the other length is rounded to the
    nearest pixel. Keras pads the picture and resizes that: the same place to a pixel, with an
    edge that fades into the zeros.

    >>> target_window(300, 400, Recipe(height=200, width=200, fit="pad"))
    Window(top=25, left=0, height=150, width=200)
    """
    rows, columns = recipe.height, recipe.width
    if recipe.fit == "pad":
        if width * rows >= height * columns:
            rows = max((2 * height * columns + width) // (2 * width), 1)
        else:
            columns = max((2 * width * rows + height) // (2 * height), 1)
    return Window((recipe.height - rows) // 2, (recipe.width - columns) // 2, rows, columns)


def reduction(height: int, width: int, recipe: Recipe) -> int:
    """8, 4, 2 or 1: by how much a picture may shrink before it is fitted.

    The largest factor that leaves no side shorter than the one it is to fill, so that fitting
    never has to enlarge what decoding made small.

    Args:
        height: of the picture turned upright.
        width: likewise.

    >>> [reduction(side, side, Recipe(height=224, width=224)) for side in (446, 447, 1800)]
    [1, 2, 8]
    """
    height, width, to_height, to_width = _from_and_to(height, width, recipe)
    for factor in (8, 4, 2):
        if -(-height // factor) >= to_height and -(-width // factor) >= to_width:
            return factor
    return 1


def shrinks(height: int, width: int, recipe: Recipe) -> bool:
    """Whether both sides of a picture become shorter when it is fitted.

    Args:
        height: of the picture turned upright.
        width: likewise.

    >>> [shrinks(side, 300, Recipe(height=224, width=224)) for side in (224, 225)]
    [False, True]
    """
    height, width, to_height, to_width = _from_and_to(height, width, recipe)
    return height > to_height and width > to_width


def _from_and_to(height: int, width: int, recipe: Recipe) -> tuple[int, int, int, int]:
    """Height and width of what is seen of a picture, and of what it is to fill."""
    to_height, to_width = recipe.height, recipe.width
    if recipe.fit == "crop":
        _, _, height, width = source_window(height, width, recipe)
    elif recipe.fit == "pad":
        _, _, to_height, to_width = target_window(height, width, recipe)
    return height, width, to_height, to_width


def fit_into(
    image: npt.NDArray[np.uint8],
    height: int,
    width: int,
    recipe: Recipe,
    out: npt.NDArray[np.uint8],
) -> None:
    """Writes the picture into `out`, as the recipe's `fit` and `interpolation` say.

    Args:
        image: uint8 (rows, columns, channels), upright, in the recipe's channels, or
            (rows, columns) where that is one channel; not modified.
        height: of the whole picture, which `image` may be a reduced form of.
        width: likewise.
        out: uint8 of `recipe.shape`, C-contiguous; every pixel of it is written.

    OpenCV `resize`, which writes straight into `out`. Channels are resized apart from each
    other, transparency too.
    """
    if recipe.fit == "crop":
        image = _cut(image, height, width, source_window(height, width, recipe))
    elif recipe.fit == "pad":
        top, left, rows, columns = target_window(height, width, recipe)
        out[:] = 0
        out = out[top : top + rows, left : left + columns]
    rows, columns = out.shape[:2]
    made = cv2.resize(image, (columns, rows), dst=out, interpolation=_FILTERS[recipe.interpolation])
    if made is not out:  # OpenCV makes its own array when it cannot use the given one
        out[:] = made.reshape(out.shape)


def _cut(
    image: npt.NDArray[np.uint8], height: int, width: int, window: Window
) -> npt.NDArray[np.uint8]:
    """The window of the whole picture, in the pixels of `image`; rounded outwards."""
    rows, columns = image.shape[:2]
    bottom, right = window.top + window.height, window.left + window.width
    return image[
        window.top * rows // height : -(-bottom * rows // height),
        window.left * columns // width : -(-right * columns // width),
    ]
