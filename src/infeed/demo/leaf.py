"""One picture of one leaf, as a phone might have taken it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from infeed.demo.blade import Blade, draw_blade
from infeed.demo.disease import DISEASES
from infeed.demo.texture import Picture, as_field, clouds, mix, noise, plain, step

CLASSES: Final[tuple[str, ...]] = tuple(DISEASES)
"""The names of what `draw_leaf` can draw; a label is a place in here."""

_SOILS: Final = ((0.36, 0.27, 0.2), (0.47, 0.4, 0.31), (0.25, 0.21, 0.19))
_TABLES: Final = ((0.78, 0.77, 0.74), (0.55, 0.56, 0.58), (0.62, 0.5, 0.36), (0.3, 0.33, 0.38))


def draw_leaf(
    generator: np.random.Generator, label: int, *, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """A leaf with the disease `CLASSES[label]`.

    Args:
        generator: the only source of chance: the same state draws the same picture.

    Returns:
        uint8 (height, width, 3), RGB, 0..255.

    Raises:
        ValueError: there is no such class, or a side is shorter than 16 pixels.

    >>> draw_leaf(np.random.default_rng(1), 3, height=48, width=64).shape
    (48, 64, 3)
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(f"label must be in [0, {len(CLASSES)}), got {label}")
    if min(height, width) < 16:
        raise ValueError(f"a leaf needs sides of at least 16 pixels, got {height}x{width}")
    picture = _background(generator, height, width)
    blade = draw_blade(generator, height, width)
    _cast_shadow(generator, picture, blade)
    leaf = _green_leaf(generator, blade)
    # Mild cases are commoner than grave ones, and harder to tell from a sound leaf.
    severity = 0.08 + 0.92 * float(generator.uniform()) ** 1.3
    DISEASES[CLASSES[label]](generator, leaf, blade, severity)
    mix(picture, (0.45, 0.5, 0.25), blade.stalk)
    mix(picture, leaf, blade.mask)
    return _photograph(generator, picture)


def _background(generator: np.random.Generator, height: int, width: int) -> Picture:
    """Soil, a table or leaves out of focus."""
    kind = generator.integers(3)
    if kind == 0:
        picture = plain(_SOILS[generator.integers(len(_SOILS))], height, width)
        grain = clouds(generator, height, width, 24, octaves=3) * np.float32(0.16)
        picture *= 1 + grain
    elif kind == 1:
        picture = plain(_TABLES[generator.integers(len(_TABLES))], height, width)
        wood = noise(generator, height, width, 3) * np.float32(0.05)
        picture *= 1 + wood
    else:
        picture = plain((0.16, 0.27, 0.12), height, width)
        mix(picture, (0.42, 0.56, 0.24), step(noise(generator, height, width, 6), 0.2, 1.5))
        mix(picture, (0.74, 0.8, 0.7), step(noise(generator, height, width, 5), 1.3, 0.8))
    return picture


def _cast_shadow(generator: np.random.Generator, picture: Picture, blade: Blade) -> None:
    shift = np.asarray([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    shift[:, 2] = generator.uniform(-0.05, 0.05, 2) * blade.length
    height, width = blade.shape
    shadow = cv2.warpAffine(blade.mask, shift, (width, height), flags=cv2.INTER_LINEAR)
    shadow = as_field(cv2.boxFilter(shadow, -1, (2 * (height // 40) + 3,) * 2))
    picture *= 1 - shadow * np.float32(generator.uniform(0.2, 0.6))


def _green_leaf(generator: np.random.Generator, blade: Blade) -> Picture:
    """A sound leaf over the whole picture; the outline is cut out later."""
    yellow = generator.uniform(0, 1)
    colour = (0.17 + 0.26 * yellow, 0.4 + 0.13 * yellow, 0.12 + 0.06 * yellow)
    leaf = plain(colour, *blade.shape)
    leaf *= 1 + clouds(generator, *blade.shape, 9, octaves=2) * np.float32(0.05)
    # The two halves of a leaf are bent, so that one lies in the light.
    tilt = np.float32(generator.normal(0, 0.1))
    leaf *= 1 + tilt * np.tanh(blade.across * np.float32(40))
    paleness = np.float32(generator.uniform(0.15, 0.6))
    mix(leaf, (0.56, 0.64, 0.32), blade.veins * paleness)
    if generator.uniform() < 0.4:  # a wet or waxy leaf shines
        shine = step(noise(generator, *blade.shape, 4), 1.2, 1.2)
        mix(leaf, (0.85, 0.9, 0.88), shine * np.float32(generator.uniform(0.1, 0.4)))
    return leaf


def _photograph(generator: np.random.Generator, picture: Picture) -> npt.NDArray[np.uint8]:
    """What a camera makes of it: uneven light, a colour cast, noise, some blur."""
    _, height, width = picture.shape
    light = 1 + noise(generator, height, width, 1) * np.float32(0.13)
    picture *= np.clip(light, 0.5, 1.4)
    exposure = generator.uniform(0.72, 1.22)
    cast = exposure * generator.normal(1, 0.05, (3, 1, 1))
    picture *= cast.astype(np.float32)
    if generator.uniform() < 0.2:
        for plane in picture:
            plane[:] = cv2.GaussianBlur(plane, (0, 0), max(height, width) / 400)
    grain = generator.standard_normal((height, width), dtype=np.float32)
    picture += grain * np.float32(generator.uniform(0.005, 0.03))
    picture *= 255
    picture += np.float32(0.5)
    np.clip(picture, 0, 255, out=picture)
    # Three planes become one array of threes.
    return picture.astype(np.uint8).transpose(1, 2, 0).copy()
