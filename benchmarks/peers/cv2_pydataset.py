"""A `PyDataset` as people write it after Keras' documentation: cv2, float32, several workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import keras
import numpy as np
from image_set import ImageSet

# `fit` wraps a PyDataset in this one, which starts the workers; without a model it has to be done
# by hand.
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter


class Photos(keras.utils.PyDataset):  # type: ignore[misc] # keras is not typed
    """Batches of float32 (rows, size, size, 3), 0..1, RGB, and row numbers."""

    def __init__(self, paths: list[str], size: int, batch: int, workers: int) -> None:
        super().__init__(workers=workers)
        self.paths = paths
        self.size = (size, size)
        self.batch = batch
        self.random = np.random.default_rng(7)
        self.order = self.random.permutation(len(paths))

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        return np.array([self.photo(row) for row in rows]), rows

    def photo(self, row: int) -> Any:
        image = cv2.cvtColor(cv2.imread(self.paths[row]), cv2.COLOR_BGR2RGB)
        return cv2.resize(image, self.size).astype(np.float32) / 255

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(len(self.paths))


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs as `fit` reads them, up to where a back end takes the arrays."""
    del reduced
    # One worker starts no thread at all, on any machine.
    adapter = PyDatasetAdapter(Photos(images.paths, size, batch, workers=max(2, cores)))

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        del number
        adapter.on_epoch_begin()
        yield from adapter.get_numpy_iterator()
        adapter.on_epoch_end()

    return epoch
