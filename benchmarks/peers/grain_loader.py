"""Grain's `MapDataset`, read by threads, decoded by simplejpeg and resized by cv2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grain
from image_set import ImageSet
from jpeg_row import Decode


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of uint8 (rows, size, size, 3)."""
    paths = images.paths
    decode = Decode(size, reduced)

    def load(row: int) -> tuple[Any, int]:
        return decode(paths[row]), row

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        rows = grain.MapDataset.source(range(len(paths))).shuffle(seed=7 + number)
        batches = rows.map(load).batch(batch)
        reading = grain.ReadOptions(num_threads=cores, prefetch_buffer_size=2 * cores)
        return iter(batches.to_iter_dataset(reading))

    return epoch
