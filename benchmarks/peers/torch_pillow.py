"""torch `DataLoader`, decoded and resized by Pillow: what most people run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from image_set import ImageSet
from PIL import Image
from torch_epochs import torch_epochs


@dataclass(frozen=True, slots=True)
class Decode:
    """Of a path: uint8 (size, size, 3), RGB."""

    size: int
    reduced: bool

    def __call__(self, path: str) -> Any:
        with Image.open(path) as image:
            if self.reduced:
                image.draft("RGB", (self.size, self.size))
            resized = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.array(resized)  # PyTorch wants memory that may be written to


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of uint8 (rows, size, size, 3)."""
    return torch_epochs(images.paths, Decode(size, reduced), batch=batch, cores=cores)
