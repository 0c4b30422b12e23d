"""Runs that stop after every step, and runs that go on: each part in a process of its own.

    python restore_program.py FOLDER whole|stopped|resumed

FOLDER has `train.json` and its images. `whole` writes what uninterrupted runs deliver, `stopped`
the states of runs that were left after 0, 1, 2, ... batches, and `resumed` what is delivered
from each of those states on.
"""

from __future__ import annotations

import itertools
import json
import sys
import zlib
from pathlib import Path
from typing import Any

from infeed import Batch, Loader, Manifest, Recipe, Sampler

BATCHES = 13  # more than two epochs

SAMPLERS = [
    Sampler(seed=7, batch_size=4, sampling=sampling, remainder=remainder)
    for sampling, remainder in (
        ("shuffle", "keep"),
        ("shuffle", "carry"),
        ("sequential", "drop"),
        ("replacement", "pad"),
        ("balanced", "carry"),
        ("sqrt", "keep"),
        ("effective", "drop"),
        ({0: 1, 1: 2, 2: 0}, "pad"),
    )
]


def make_loader(folder: Path, sampler: Sampler) -> Loader:
    manifest = Manifest.from_json(folder / "train.json", images=folder)
    return Loader(manifest, Recipe(height=16, width=16), sampler, threads=2, max_bad=1.0)


def rows(loader: Loader, batch: Batch) -> list[Any]:
    """What a batch delivers, row by row: position, label, checksum of the pixels, random word."""
    assert batch.labels is not None
    words = loader.draws(batch, "augment").tolist()
    return [
        [int(position), int(label), zlib.crc32(image.tobytes()), float(weight), word]
        for position, label, image, weight, word in zip(
            batch.positions, batch.labels, batch.images, batch.weights, words, strict=True
        )
    ]


def delivered(loader: Loader, batches: int) -> list[Any]:
    """The rows of the next batches, batch by batch; the loader is left amid its stream."""
    with loader.resume() as stream:
        return [rows(loader, batch) for batch in itertools.islice(stream, batches)]


def whole(folder: Path) -> list[Any]:
    return [delivered(make_loader(folder, sampler), BATCHES) for sampler in SAMPLERS]


def stopped(folder: Path) -> list[Any]:
    states = []
    for sampler in SAMPLERS:
        states.append([])
        for batches in range(BATCHES):
            loader = make_loader(folder, sampler)
            delivered(loader, batches)
            states[-1].append(loader.state_dict())
    return states


def resumed(folder: Path) -> list[Any]:
    states = json.loads((folder / "stopped.json").read_text("utf-8"))
    runs = []
    for sampler, states_of_sampler in zip(SAMPLERS, states, strict=True):
        runs.append([])
        for batches, state in enumerate(states_of_sampler):
            loader = make_loader(folder, sampler)
            loader.load_state_dict(state)
            runs[-1].append(delivered(loader, BATCHES - batches))
    return runs


if __name__ == "__main__":
    place, part = Path(sys.argv[1]), sys.argv[2]
    result = {"whole": whole, "stopped": stopped, "resumed": resumed}[part](place)
    (place / f"{part}.json").write_text(json.dumps(result), "utf-8")
