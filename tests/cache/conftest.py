"""Images that are old enough to be kept, and loaders over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler

LONG_AGO = 1_700_000_000
COUNT = 24
SIZE = 16

MakeLoader = Callable[..., Loader]


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    """Makes a JPEG like no other number's."""

    def make(number: int) -> bytes:
        random = np.random.default_rng(number)
        coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
        image = cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_CUBIC)
        return cv2.imencode(".jpg", image)[1].tobytes()

    return make


@pytest.fixture
def write() -> Callable[[Path, bytes], None]:
    """Makes a file that was last modified long ago: one of this moment would not be kept."""

    def make(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (LONG_AGO, LONG_AGO))

    return make


@pytest.fixture
def images(
    tmp_path: Path, picture: Callable[[int], bytes], write: Callable[[Path, bytes], None]
) -> Path:
    folder = tmp_path / "images"
    for number in range(COUNT):
        write(folder / f"{number:02} - 副本.jpg", picture(number))
    return folder


@pytest.fixture
def make_loader(images: Path) -> MakeLoader:
    """A loader over the images; `cache` and `names` may be given, and what `Loader` takes."""

    def make(
        cache: Cache | Path | None = None,
        names: Sequence[str] | None = None,
        recipe: Recipe | None = None,
        **options: Any,
    ) -> Loader:
        if names is None:
            names = sorted(path.name for path in images.iterdir())
        manifest = Manifest.from_rows(names, images=images)
        options = {"threads": 2, "max_bad": 0} | options
        return Loader(
            manifest, recipe or Recipe(SIZE, SIZE), Sampler(3, batch_size=8), cache=cache, **options
        )

    return make
