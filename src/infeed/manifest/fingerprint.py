"""The identity of a manifest's contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def fingerprint(
    arena: bytes,
    offsets: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int32] | None,
    weights: npt.NDArray[np.float32] | None,
    class_names: Iterable[str],
) -> str:
    """32 hex digits: BLAKE2b of the arrays in little-endian form, each after its length.

    The arguments are the fields of `Manifest`. The same on every machine and Python version.
    """
    digest = hashlib.blake2b(b"infeed manifest 1", digest_size=16)

    def update(data: bytes | memoryview) -> None:
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)

    update(arena)
    for array, dtype in ((offsets, "<i8"), (labels, "<i4"), (weights, "<f4")):
        if array is None:
            digest.update(b"none")
        else:
            update(np.ascontiguousarray(array, dtype=dtype).view(np.uint8).data)
    for name in class_names:
        # "surrogatepass" encodes whatever text Python can hold.
        update(name.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
