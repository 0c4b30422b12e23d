"""Random words that belong to a sample, whatever batch, shard or thread it comes in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infeed.order.keyed import hash64_each, key


def draws(
    seed: int,
    purpose: str,
    epochs: npt.NDArray[np.int64] | int,
    positions: npt.NDArray[np.int64],
    turns: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint64]:
    """uint64 (rows,): a word for each sample that looks random and independent of all others.

    Args:
        seed: any int.
        purpose: what the words are for; another purpose is another word.
        epochs: int64 (rows,), the epoch of each sample, `sample_epochs` of a plan; or one int.
        positions: int64 (rows,), the record of each sample.
        turns: int64 (rows,), which time the record comes, as a plan says.

    All are separate words of a key: (seed, purpose, epoch, position, turn).

    >>> import numpy as np
    >>> plan = np.array([3, 4]), np.array([0, 0])
    >>> draws(7, "flip", 0, *plan).tolist()
    [1922310504743751017, 11889543673130265823]
    """
    keys = np.broadcast_to(np.uint64(key(seed, purpose)), positions.shape)
    for words in (np.asarray(epochs, dtype=np.int64), positions, turns):
        keys = hash64_each(keys, np.broadcast_to(words, positions.shape))
    return keys
