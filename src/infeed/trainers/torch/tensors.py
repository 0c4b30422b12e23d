"""Arrays of a batch as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from infeed.trainers.torch.framework import torch


def to_tensors(arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    """The arrays as tensors of the same memory, which they keep alive.

    Where there is CUDA, in page-locked memory instead, from which a device copies directly.

    Args:
        arrays: of any shape and dtype that PyTorch has; writable.

    Returns:
        A `torch.Tensor` on the CPU for each array.
    """
    tensors = tuple(torch.from_numpy(array) for array in arrays)
    if torch.cuda.is_available():
        return tuple(tensor.pin_memory() for tensor in tensors)
    return tensors
