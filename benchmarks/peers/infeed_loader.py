"""infeed, as it comes: `Loader` with its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from image_set import ImageSet

from infeed import Loader, Manifest, Recipe, Sampler


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of host batches, uint8 (rows, size, size, 3)."""
    # The cores are found by infeed itself, and so is the size to decode at.
    del cores, reduced
    loader = Loader(
        Manifest.from_json(images.manifest, images=images.images),
        Recipe(height=size, width=size),
        Sampler(seed=7, batch_size=batch),
        max_bad=0,
    )

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        with loader.epoch(number) as batches:
            for each in batches:
                yield each.images, each.positions

    return epoch
