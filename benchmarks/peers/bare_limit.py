"""Not a peer but the ceiling: bare processes that read, decode and resize."""

from __future__ import annotations

from image_set import ImageSet

from infeed.bench import decoder_limit


def rate(images: ImageSet, *, size: int, processes: int) -> float:
    """Images a second."""
    return decoder_limit(images.paths, height=size, width=size, processes=processes)
