"""A `torch.utils.data.DataLoader` whose batches are made by our threads, not by its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from infeed.trainers.torch.framework import torch
from infeed.trainers.torch.tensors import to_tensors


def make_data_loader(one_pass: Callable[[], Iterator[tuple[np.ndarray, ...]]], length: int) -> Any:
    """A `DataLoader` each of whose iterations is a pass.

    Args:
        one_pass: begins a pass over batches, when the first of them is asked for.
        length: the batches of a whole pass. One that ends earlier ends the iteration.

    Returns:
        A `DataLoader` of batches as tensors, with that length and without workers.
    """
    # Without `batch_size` it passes on what the data set yields, without `collate_fn` it would
    # make lists of our tuples. Each iteration draws a seed for workers that there are not: from
    # a generator of its own, or the layers that draw from PyTorch's would notice.
    return torch.utils.data.DataLoader(
        _Batches(one_pass, length),
        batch_size=None,
        num_workers=0,
        collate_fn=_as_it_is,
        generator=torch.Generator(),
    )


class _Batches(torch.utils.data.IterableDataset):  # type: ignore[misc]  # an Any to us
    def __init__(
        self, one_pass: Callable[[], Iterator[tuple[np.ndarray, ...]]], length: int
    ) -> None:
        self._one_pass = one_pass
        self._length = length

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            raise RuntimeError(
                f"num_workers={worker.num_workers}: each worker would deliver every batch. Take "
                "the DataLoader of as_torch_loader() as it is: its batches are made ahead by "
                "threads, as many as threads= says."
            )
        return map(to_tensors, self._one_pass())

    def __len__(self) -> int:
        return self._length


def _as_it_is(batch: tuple[Any, ...]) -> tuple[Any, ...]:
    return batch
