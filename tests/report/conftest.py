"""A batch in which everything happens that can, under names that try to get out."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.report.batch_row import BatchRow, batch_rows
from infeed.stream import Batch

NAMES = [
    "苹果 叶 - 副本_看图王.jpg",
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror="alert(2)">.jpg',
    "bad {{ 7 * 6 }} &amp; 'x'.jpg",
    "new\nline\x1b[2J\u202egpj.jpg",
    os.fsdecode(b"\xff\xfe.jpg"),
    "odd.jpg",
]
LABELS = ["<b>rust</b>", "healthy", "<b>rust</b>", "healthy", "healthy", "<b>rust</b>", "blight"]
BAD = 3
ODD = 6


def jpeg(position: int) -> bytes:
    """A picture with a colour of its own, and a corner of another."""
    rng = np.random.default_rng(position)
    pixels = np.full((16, 16, 3), rng.integers(0, 256, 3), np.uint8)
    pixels[:8, :8] = 255 - pixels[:8, :8]
    encoded: bytes = cv2.imencode(".jpg", pixels)[1].tobytes()
    return encoded


class MakeBatch:
    """Makes (loader, batch, rows): a record is bad, one has stray bytes, two rows are padded."""

    names = NAMES
    labels = LABELS
    bad = BAD
    odd = ODD
    jpeg = staticmethod(jpeg)

    def __call__(
        self, *, batch_size: int = 9, color_mode: Any = "rgb", **options: Any
    ) -> tuple[Loader, Batch, tuple[BatchRow, ...]]:
        files = {name: jpeg(position) for position, name in enumerate(NAMES)}
        files[NAMES[BAD]] = files[NAMES[BAD]][:200]
        at = files[NAMES[ODD]].index(b"\xff\xdb")
        files[NAMES[ODD]] = files[NAMES[ODD]][:at] + b"stray" + files[NAMES[ODD]][at:]
        loader = Loader(
            Manifest.from_rows(NAMES, LABELS, weights=[1, 1, 0.5, 1, 1, 1, 1]),
            Recipe(height=12, width=10, color_mode=color_mode),
            Sampler(batch_size=batch_size, sampling="sequential", remainder="pad"),
            storage=MemoryStorage(files),
            max_bad=1.0,
            **options,
        )
        batch = loader.batch(0, 0)
        return loader, batch, batch_rows(loader, batch)


@pytest.fixture
def make_batch() -> MakeBatch:
    return MakeBatch()
