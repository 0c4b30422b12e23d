"""The leaf's outline: for each pixel of a picture, where on the leaf it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from infeed.demo.texture import Field, step

_PROFILE_POINTS = 1024


@dataclass(frozen=True)
class Blade:
    """A leaf laid into a picture of height x width pixels. All fields float32 (height, width).

    Attributes:
        along: 0 at the stalk, 1 at the tip; outside of that beyond the leaf.
        across: distance from the midrib in leaf lengths, negative on the left.
        margin: distance to the nearest edge in leaf lengths, negative outside.
        mask: how much of the pixel is leaf, 0..1.
        veins: the midrib and its side veins, 0..1.
        stalk: how much of the pixel is stalk, 0..1.
        length: of the leaf, in pixels.
    """

    along: Field
    across: Field
    margin: Field
    mask: Field
    veins: Field
    stalk: Field
    length: float

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        height, width = self.mask.shape
        return height, width


def draw_blade(generator: np.random.Generator, height: int, width: int) -> Blade:
    """A leaf of random species, place, turn and bend."""
    uniform = generator.uniform
    length = uniform(0.78, 1.12) * (0.6 * min(height, width) + 0.4 * max(height, width))
    # Leaves are mostly held along the picture's longer side, but some lie anyhow.
    upright = np.pi / 2 if height >= width else 0.0
    angle = uniform(-np.pi, np.pi) if uniform() < 0.3 else upright + generator.normal(0, 0.35)
    if uniform() < 0.5:
        angle += np.pi
    centre_x = width * uniform(0.42, 0.58)
    centre_y = height * uniform(0.42, 0.58)

    x = ((np.arange(width) + 0.5 - centre_x) / length).astype(np.float32)
    y = ((np.arange(height) + 0.5 - centre_y) / length).astype(np.float32)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = x * cos + (y * sin)[:, np.newaxis] + np.float32(0.5)
    across = (y * cos)[:, np.newaxis] - x * sin
    inside = np.clip(along, 0, 1)
    across += np.float32(generator.normal(0, 0.12)) * (4 * inside * (1 - inside) - np.float32(0.5))

    half_width = _half_width(generator, inside)
    distance = np.abs(across)
    margin = half_width - distance
    mask = step(margin, 0, 1.5 / length) * ((along > 0) & (along < 1))

    thickness = uniform(0.006, 0.012)
    # The midrib grows thinner towards the tip.
    midrib = step(np.float32(thickness) * (np.float32(1.2) - inside) - distance, 0, 0.008)
    wave = (along - distance * np.float32(uniform(0.5, 1.1))) * np.float32(uniform(7, 12))
    wave += np.where(across > 0, np.float32(uniform(0, 0.5)), np.float32(0))
    side = step(np.float32(0.09) - np.abs(wave - np.rint(wave)), 0, 0.1) * np.float32(0.65)
    stalk = step(np.float32(thickness * 1.3) - distance, 0, 1.5 / length)
    stalk *= (along <= 0) & (along > -np.float32(uniform(0.08, 0.3)))
    return Blade(along, across, margin, mask, np.maximum(midrib, side), stalk, length)


def _half_width(generator: np.random.Generator, along: Field) -> Field:
    """Half the leaf's width at each place along it, in leaf lengths: the species."""
    uniform = generator.uniform
    place = np.linspace(0, 1, _PROFILE_POINTS)
    outline = place ** uniform(0.35, 0.85) * (1 - place) ** uniform(0.55, 1.2)
    outline *= uniform(0.2, 0.4) / outline.max()
    kind = generator.integers(3)
    if kind == 1:  # toothed
        outline *= 1 - uniform(0.03, 0.1) * np.mod(place * uniform(12, 26), 1)
    elif kind == 2:  # wavy
        outline *= 1 + uniform(0.02, 0.07) * np.sin(place * uniform(18, 45))
    table = outline.astype(np.float32)
    return table[(along * np.float32(_PROFILE_POINTS - 1)).astype(np.int32)]
