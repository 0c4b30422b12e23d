"""simplejpeg and cv2, as fast as they go by themselves: for the loaders that take any function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import simplejpeg

# The loader has a worker for each core already. Workers inherit this, or import it again.
cv2.setNumThreads(0)


@dataclass(frozen=True, slots=True)
class Decode:
    """Of a path: uint8 (size, size, 3), RGB."""

    size: int
    reduced: bool

    def __call__(self, path: str) -> Any:
        with open(path, "rb") as file:
            encoded = file.read()
        least = (0, 0)
        if self.reduced:
            # Left to itself simplejpeg takes 5/8 and the like, which are slower than full size.
            height, width = simplejpeg.decode_jpeg_header(encoded, strict=False)[:2]
            short = min(height, width)
            factor = next((f for f in (8, 4, 2) if short >= self.size * f), 1)
            least = (-(-height // factor), -(-width // factor))
        image = simplejpeg.decode_jpeg(
            encoded, "RGB", min_height=least[0], min_width=least[1], strict=False
        )
        return cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
