"""A small set of images in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler

COUNT = 53


@pytest.fixture(scope="session")
def pictures() -> dict[str, bytes]:
    """JPEG files by name: each is one grey, four times its number, so that it tells who it is."""
    return {
        f"图 {number}.jpg": cv2.imencode(
            ".jpg", np.full((40, 30, 3), 4 * number, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100]
        )[1].tobytes()
        for number in range(COUNT)
    }


@pytest.fixture(scope="session")
def manifest(pictures: dict[str, bytes]) -> Manifest:
    return Manifest.from_rows(pictures, [number % 3 for number in range(COUNT)])


@pytest.fixture
def make_loader(manifest: Manifest, pictures: dict[str, bytes]) -> Callable[..., Loader]:
    """Makes loaders over the same pictures, some of them taken away or spoilt."""

    def make(
        sampler: Sampler | None = None,
        *,
        bad: dict[int, bytes | None] | None = None,
        table: Manifest = manifest,
        **options: Any,
    ) -> Loader:
        kept = dict(pictures)
        for position, data in (bad or {}).items():
            if data is None:
                del kept[table.uri(position)]
            else:
                kept[table.uri(position)] = data
        recipe = Recipe(height=16, width=16)
        sampler = sampler or Sampler(seed=3, batch_size=8)
        return Loader(table, recipe, sampler, storage=MemoryStorage(kept), **options)

    return make
