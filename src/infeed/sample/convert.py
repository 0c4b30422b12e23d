"""`to_float32`: a finished uint8 batch as float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def to_float32(
    source: npt.NDArray[np.uint8], scale: float | None, out: npt.NDArray[np.float32]
) -> None:
    """Writes `source * scale` into `out`, in one pass and without a temporary array.

    Args:
        source: uint8, any shape; not modified.
        scale: the factor; None leaves 0..255. Where it is one over a whole number, the division
            is done, so that 1/255 gives the very bits of `image.astype(np.float32) / 255`;
            multiplying by float32(1/255) is one unit in the last place off in 126 of 256 values.
        out: float32 of the same shape.

    >>> out = np.empty(3, np.float32)
    >>> to_float32(np.array([0, 51, 255], np.uint8), 1 / 255, out)
    >>> out.tolist() == [0.0, np.float32(0.2), 1.0]
    True
    """
    if source.shape != out.shape:
        raise ValueError(f"out must have the shape of source, {source.shape}, got {out.shape}")
    if source.dtype != np.uint8 or out.dtype != np.float32:
        raise TypeError(f"source must be uint8 and out float32, got {source.dtype}, {out.dtype}")
    if scale is None:
        np.copyto(out, source)
        return
    divisor = whole_divisor(scale)
    # The dtype is named since numpy 1 would otherwise choose float16 for a byte and a small number.
    if divisor is None:
        np.multiply(source, np.float32(scale), out=out, dtype=np.float32)
    else:
        np.divide(source, np.float32(divisor), out=out, dtype=np.float32)


def whole_divisor(scale: float) -> int | None:
    """n where `scale` is the double nearest to 1/n; None where there is no such n."""
    if not scale or abs(scale) > 1 or abs(scale) < 2.0**-24:
        return None  # beyond 2**24 float32 no longer holds every whole number
    divisor = round(1 / scale)
    return divisor if 1 / divisor == scale else None
