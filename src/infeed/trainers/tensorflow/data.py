"""A `tf.data.Dataset` of batches that our threads make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from infeed.trainers.tensorflow.framework import tf

# Batches that TensorFlow holds ready beside ours: one to compute on while the next arrives.
PREFETCH = 2


def make_tf_data(
    one_pass: Callable[[], Iterator[tuple[np.ndarray, ...]]],
    length: int,
    signature: Sequence[tuple[tuple[int | None, ...], str]],
) -> Any:
    """A `tf.data.Dataset` each of whose iterations is a pass.

    Args:
        one_pass: begins a pass over batches, when the first of them is asked for.
        length: the batches of a whole pass. One that ends earlier ends the iteration.
        signature: (shape, dtype) of each array of a batch; None for a length that varies.

    Returns:
        A `tf.data.Dataset` of cardinality `length`, which reads `PREFETCH` batches ahead.
    """
    was_short = False

    def passes() -> Iterator[tuple[np.ndarray, ...]]:
        nonlocal was_short
        if was_short:  # begun again by `repeat`: nothing more
            was_short = False
            return
        yield from one_pass()
        was_short = True

    specification = tuple(tf.TensorSpec(shape, dtype) for shape, dtype in signature)
    # A generator has no cardinality, and one that is asserted must be met, which the rest of an
    # epoch does not. `repeat().take()` has one and may end early: where a whole pass is delivered
    # nothing more is asked for; after a short one `repeat` begins another at once, which is
    # empty, and an empty one ends it.
    endless = tf.data.Dataset.from_generator(passes, output_signature=specification).repeat()
    return endless.take(length).prefetch(PREFETCH)
