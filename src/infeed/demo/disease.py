"""What each class looks like on a leaf: one function a disease."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from infeed.demo.blade import Blade
from infeed.demo.texture import Colour, Field, Picture, as_field, clouds, mix, noise, plain, step

Disease = Callable[[np.random.Generator, Picture, Blade, float], None]
"""Draws itself onto a picture, in place; the last argument is its severity, 0..1."""

_SUBPIXEL_BITS = 3


def healthy(
    generator: np.random.Generator, picture: Picture, blade: Blade, severity: float
) -> None:
    """A few harmless scars: even a sound leaf has lived."""
    scars = _spots(generator, blade, int(severity * 5), 0.004, 0.012)
    mix(picture, _near(generator, (0.42, 0.36, 0.2)), scars * np.float32(0.7))


def rust(generator: np.random.Generator, picture: Picture, blade: Blade, severity: float) -> None:
    """Many small orange pustules."""
    count = round(25 + 110 * severity)
    pustules = _spots(generator, blade, count, 0.006, 0.016)
    halo = _blurred(pustules, blade.length * 0.014)
    mix(picture, (0.75, 0.68, 0.2), np.clip(halo * np.float32(1.3), 0, 0.7) * blade.mask)
    mix(picture, _near(generator, (0.72, 0.36, 0.08)), pustules * np.float32(0.92))


def powdery_mildew(
    generator: np.random.Generator, picture: Picture, blade: Blade, severity: float
) -> None:
    """A white, felty coat in patches."""
    patches = clouds(generator, *blade.shape, _between(generator, 5, 8), octaves=3)
    coat = step(patches, 1.1 - 1.3 * severity, 0.9) * blade.mask
    grain = noise(generator, *blade.shape, 110) * np.float32(0.05)
    colour = plain(_near(generator, (0.84, 0.86, 0.82)), *blade.shape) + grain
    mix(picture, colour, coat * np.float32(0.55 + 0.3 * severity))


def leaf_spot(
    generator: np.random.Generator, picture: Picture, blade: Blade, severity: float
) -> None:
    """Round brown spots with a pale centre and a yellow ring."""
    count = round(4 + 16 * severity)
    # The same draw of the same places, three times, each smaller than the one before.
    places = int(generator.integers(2**62))
    for scale, colour, strength in (
        (1.35, (0.66, 0.66, 0.26), 0.7),
        (1.0, (0.32, 0.2, 0.11), 0.92),
        (0.45, (0.58, 0.46, 0.32), 0.8),
    ):
        again = np.random.Generator(np.random.Philox(places))
        spots = _spots(again, blade, count, 0.02 * scale, 0.05 * scale)
        mix(picture, _near(generator, colour), spots * np.float32(strength))


def blight(generator: np.random.Generator, picture: Picture, blade: Blade, severity: float) -> None:
    """Large brown, dead areas that eat their way in from the edge or the tip."""
    depth = clouds(generator, *blade.shape, 5, octaves=3) * np.float32(0.045)
    depth -= blade.margin
    if generator.uniform() < 0.6:  # from the tip
        depth += np.float32(0.35) * (blade.along - np.float32(0.75))
    reach = 0.02 + 0.09 * severity
    yellow = step(depth, -reach - 0.025, 0.05) * blade.mask
    dead = step(depth, -reach, 0.012) * blade.mask
    rings = np.float32(0.06) * np.sin(depth * np.float32(generator.uniform(120, 220)))
    brown = plain(_near(generator, (0.4, 0.27, 0.15)), *blade.shape) + rings
    mix(picture, (0.7, 0.66, 0.25), yellow * np.float32(0.7))
    mix(picture, brown, dead * np.float32(0.93))


def mosaic_virus(
    generator: np.random.Generator, picture: Picture, blade: Blade, severity: float
) -> None:
    """Angular yellow and dark green patches; the veins stay green."""
    patches = noise(generator, *blade.shape, _between(generator, 14, 24))
    patches += noise(generator, *blade.shape, 8) * np.float32(0.5)
    pale = step(patches, 0.15, 0.35) * blade.mask
    pale *= 1 - blade.veins * np.float32(0.8)
    dark = step(-patches, 0.6, 0.35) * blade.mask
    strength = np.float32(0.25 + 0.55 * severity)
    mix(picture, _near(generator, (0.74, 0.76, 0.3)), pale * strength)
    mix(picture, (0.08, 0.26, 0.1), dark * strength * np.float32(0.5))


DISEASES: Final[dict[str, Disease]] = {
    "healthy": healthy,
    "rust": rust,
    "powdery mildew": powdery_mildew,
    "leaf spot": leaf_spot,
    "blight": blight,
    "mosaic virus": mosaic_virus,
}
"""By class name; their order is the order of the labels."""


def _spots(
    generator: np.random.Generator, blade: Blade, count: int, smallest: float, largest: float
) -> Field:
    """Discs at random places of the leaf; radii in leaf lengths.

    Returns:
        float32 (height, width), 0..1, 0 outside the leaf.
    """
    height, width = blade.shape
    canvas = np.zeros((height, width), dtype=np.uint8)
    # Random pixels of the bounding box, of which those on the leaf are kept: enough of them
    # lie there, since a leaf fills a good part of its picture.
    rows = generator.uniform(0, height, 20 * count + 20)
    columns = generator.uniform(0, width, 20 * count + 20)
    radii = generator.uniform(smallest, largest, 20 * count + 20) * blade.length
    on_leaf = np.flatnonzero(blade.mask[rows.astype(int), columns.astype(int)] > 0)[:count]
    fine = 1 << _SUBPIXEL_BITS
    for place in on_leaf:
        centre = (int(columns[place] * fine), int(rows[place] * fine))
        radius = max(fine // 2, int(radii[place] * fine))
        cv2.circle(canvas, centre, radius, 255, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    return as_field(canvas) * np.float32(1 / 255) * blade.mask


def _blurred(field: Field, pixels: float) -> Field:
    return as_field(cv2.GaussianBlur(field, (0, 0), max(0.3, pixels)))


def _near(generator: np.random.Generator, colour: Colour) -> Colour:
    """A colour like the given one: no two leaves have the same brown."""
    shade = generator.normal(1, 0.08)
    red, green, blue = (channel * shade * generator.normal(1, 0.04) for channel in colour)
    return red, green, blue


def _between(generator: np.random.Generator, low: float, high: float) -> float:
    return float(generator.uniform(low, high))
