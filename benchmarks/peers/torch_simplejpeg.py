"""torch `DataLoader`, decoded by simplejpeg and resized by cv2: the strongest peer."""

from __future__ import annotations

from typing import Any

from image_set import ImageSet
from jpeg_row import Decode
from torch_epochs import torch_epochs


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of uint8 (rows, size, size, 3)."""
    return torch_epochs(images.paths, Decode(size, reduced), batch=batch, cores=cores)
