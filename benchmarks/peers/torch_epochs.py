"""A `DataLoader` over photos, for the peers that differ in the decoder only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


class Photos(Dataset[Any]):  # type: ignore[misc] # torch is not typed here
    """Pairs of a photo, uint8 (size, size, 3), and its row."""

    def __init__(self, paths: list[str], decode: Callable[[str], Any]) -> None:
        self.paths = paths
        self.decode = decode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return torch.from_numpy(self.decode(self.paths[row])), row


def torch_epochs(paths: list[str], decode: Callable[[str], Any], *, batch: int, cores: int) -> Any:
    """Epochs by a process for each core, which live on from epoch to epoch."""
    loader = DataLoader(
        Photos(paths, decode),
        batch_size=batch,
        shuffle=True,
        num_workers=cores,
        persistent_workers=True,
        generator=torch.Generator().manual_seed(7),
    )

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        del number  # the loader shuffles anew by itself
        return iter(loader)

    return epoch
