"""Arrays that the back ends can take without a copy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

# JAX and TensorFlow alias a host array only when it starts on this boundary (a cache line);
# any other array is copied: measured 1.6 ms instead of 0.5 ms for 64x224x224x3 uint8 on JAX.
ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """A fresh, uninitialised, C-contiguous array whose data starts on a 64-byte boundary.

    Args:
        shape: any; an array without elements starts anywhere.
        dtype: any fixed-size dtype.

    >>> aligned_empty((2, 3), "float32").ctypes.data % ALIGNMENT
    0
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(dtype).reshape(shape)
