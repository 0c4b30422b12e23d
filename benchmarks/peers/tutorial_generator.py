"""The hand-written generator of the tutorial: one thread, draws with replacement, float32."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from image_set import ImageSet

GENERATOR = Path(__file__).parents[2] / "examples" / "tutorial" / "generator.py"


def prepare(images: ImageSet, *, size: int, batch: int, cores: int, reduced: bool) -> Any:
    """Epochs of as many images as the set has, rounded up to whole batches."""
    del cores, reduced
    tutorial = _generator()
    rows = tutorial.read_annotations(images.manifest)
    stream = tutorial.generate(
        rows,
        images.images,
        size=size,
        classes=max(images.classes) + 1,
        batch_size=batch,
        random=np.random.default_rng(7),
    )

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        del number  # it goes on for ever
        for pixels, _ in itertools.islice(stream, -(-len(rows) // batch)):
            yield pixels, None

    return epoch


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generator", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
