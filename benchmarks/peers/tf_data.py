"""tf.data, written as its own guide to performance advises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from image_set import ImageSet


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of float32 (rows, size, size, 3), 0..255."""
    del cores  # AUTOTUNE finds them
    paths = images.paths

    def load(path: Any, row: Any) -> tuple[Any, Any]:
        encoded = tf.io.read_file(path)
        pixels = _decode_reduced(encoded, size) if reduced else tf.io.decode_jpeg(encoded, 3)
        pixels = tf.image.resize(pixels, (size, size))
        pixels.set_shape((size, size, 3))
        return pixels, row

    dataset = tf.data.Dataset.from_tensor_slices((paths, list(range(len(paths)))))
    dataset = dataset.shuffle(len(paths), seed=7, reshuffle_each_iteration=True)
    # The order is random anyway, so that it need not be kept.
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    dataset = dataset.batch(batch).prefetch(tf.data.AUTOTUNE)

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        del number  # the dataset shuffles anew by itself
        return iter(dataset)

    return epoch


def _decode_reduced(encoded: Any, size: int) -> Any:
    """Decoded at 1/8, 1/4, 1/2 or full size, so that no side is smaller than `size`."""
    smaller = tf.reduce_min(tf.io.extract_jpeg_shape(encoded)[:2])
    ratios = (1, 2, 4, 8)
    index = sum(tf.cast(smaller >= size * ratio, tf.int32) for ratio in ratios[1:])
    return tf.switch_case(
        index, [lambda ratio=ratio: tf.io.decode_jpeg(encoded, 3, ratio=ratio) for ratio in ratios]
    )
