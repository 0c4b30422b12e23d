"""First-epoch speed: the loader against the decoder's own limit and the tutorial's generator.

    python benchmarks/first_epoch.py [MANIFEST IMAGES] [--rounds 7] [--size 224] [--batch 64]

Without a manifest it draws a set of leaves of about 30 KB each. In each round, one after the
other: bare processes that only read, decode and resize (the limit), an epoch of the loader, and a
tenth as many images from the tutorial's hand-written generator. A small manifest is named
several times over, up to `--rows`, so that an epoch is more than its first and last batch.
Shared machines drift, so only medians and ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from infeed import Loader, Manifest, Recipe, Sampler
from infeed.bench import decoder_limit
from infeed.demo import draw_set

LIMIT_IMAGES = 4000

GENERATOR = Path(__file__).parents[1] / "examples" / "tutorial" / "generator.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        manifest, images = arguments.manifest, arguments.images
        if manifest is None:
            leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
            # The one that is cut off would only measure its replacement.
            (leaves.train_images / leaves.truncated).write_bytes(
                (leaves.train_images / leaves.duplicate[0]).read_bytes()
            )
            manifest, images = leaves.train_manifest, leaves.train_images
        compare(arguments, manifest, images)


def compare(arguments: argparse.Namespace, manifest: Path, images: Path) -> None:
    size, batch = arguments.size, arguments.batch
    table = Manifest.from_json(manifest, images=images)
    if len(table) < arguments.rows:
        table = table.subset(np.resize(np.arange(len(table)), arguments.rows))
    loader = Loader(
        table,
        Recipe(height=size, width=size),
        Sampler(batch_size=batch),
        threads=arguments.threads,
        max_bad=0,
    )
    paths = [str(images / table.uri(position)) for position in range(min(len(table), LIMIT_IMAGES))]
    tutorial = import_generator()
    rows = tutorial.read_annotations(manifest)
    speeds: dict[str, list[float]] = {"limit": [], "infeed": [], "tutorial": []}
    for epoch in range(arguments.rounds):
        speeds["limit"].append(
            decoder_limit(paths, height=size, width=size, processes=arguments.threads)
        )
        start = time.perf_counter()
        with loader.epoch(epoch) as batches:
            count = sum(len(each) for each in batches)
        speeds["infeed"].append(count / (time.perf_counter() - start))
        stream = tutorial.generate(
            rows,
            images,
            size=size,
            classes=max(row["disease_class"] for row in rows) + 1,
            batch_size=batch,
            random=np.random.default_rng(epoch),
        )
        steps = max(1, len(table) // batch // 10)
        cv2.setNumThreads(-1)  # as the generator finds it; the loader sets 0 when it starts
        start = time.perf_counter()
        for _ in itertools.islice(stream, steps):
            pass
        speeds["tutorial"].append(steps * batch / (time.perf_counter() - start))
        print(
            f"round {epoch}: "
            + ", ".join(f"{name} {values[-1]:,.0f}" for name, values in speeds.items()),
            flush=True,
        )
    print(f"{len(table)} images, {size}x{size}, batch {batch}, {arguments.threads} threads")
    for name, values in speeds.items():
        print(f"{name:>9}: median {statistics.median(values):,.0f} images/s")
    for other in ("limit", "tutorial"):
        ratios = [a / b for a, b in zip(speeds["infeed"], speeds[other], strict=True)]
        print(
            f"infeed / {other}: median of the rounds {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


def import_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial_generator", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
