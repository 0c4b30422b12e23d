"""Smooth random fields: what soil, mould and uneven light are made of."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""float32 (height, width): one value a pixel."""

Picture = npt.NDArray[np.float32]
"""float32 (3, height, width): red, green, blue; 0 dark, 1 bright.

Channels first: numpy then works on whole planes, several times faster than on threes.
"""

Colour = tuple[float, float, float]
"""Red, green, blue; 0 dark, 1 bright."""


def noise(generator: np.random.Generator, height: int, width: int, cells: float) -> Field:
    """A smooth field of mean 0 and a spread of about 1.

    Args:
        cells: how many hills lie along the longer side; it, not the number of pixels, sets
            the look, so that a picture of another size shows the same scene.

    Returns:
        float32 (height, width).
    """
    longer = max(height, width)
    rows = max(2, round(cells * height / longer) + 1)
    columns = max(2, round(cells * width / longer) + 1)
    coarse = generator.standard_normal((rows, columns), dtype=np.float32)
    # Sharper than one pixel would be averaged away again: draw no more cells than pixels.
    coarse = coarse[:height, :width]
    return as_field(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def clouds(
    generator: np.random.Generator, height: int, width: int, cells: float, octaves: int = 3
) -> Field:
    """Noise over noise, each octave twice as fine and half as strong.

    Returns:
        float32 (height, width), mean 0, spread about 1.
    """
    field = noise(generator, height, width, cells)
    for octave in range(1, octaves):
        field += noise(generator, height, width, cells * 2**octave) * np.float32(0.5**octave)
    return field


def step(field: Field, edge: float, softness: float) -> Field:
    """0 below `edge`, 1 above it, with a ramp `softness` wide between.

    Returns:
        float32, the shape of `field`, 0..1.
    """
    return as_field(
        np.clip((field - np.float32(edge)) / np.float32(softness) + np.float32(0.5), 0, 1)
    )


def mix(picture: Picture, colour: Colour | Picture, alpha: Field) -> None:
    """Lay a colour over `picture` in place.

    Args:
        picture: changed.
        colour: red, green, blue; one for all pixels, or one for each.
        alpha: float32 (height, width), 0 keeps the picture, 1 hides it.
    """
    for plane, paint in zip(picture, colour, strict=True):
        plane += (np.asarray(paint, dtype=np.float32) - plane) * alpha


def plain(colour: Colour, height: int, width: int) -> Picture:
    """A picture of one colour."""
    picture = np.empty((3, height, width), dtype=np.float32)
    picture[:] = np.asarray(colour, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return picture


def as_field(array: Any) -> Field:
    """What OpenCV gave back, as an array that the type checker knows."""
    return np.asarray(array, dtype=np.float32)
