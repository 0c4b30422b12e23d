"""Whether anything grows over hundreds of epochs: memory, threads, descriptors.

    python benchmarks/soak.py [--epochs 300] [--images 2000] [--kinds loader fit]

`loader`: whole epochs out of the cache by a bare `Loader`. `fit`: the same by `model.fit` with a
tiny model on JAX, validation and a backup after each epoch. Each in a process of its own, which
measures itself when an epoch has ended: anonymous memory (RssAnon), threads, descriptors. After a
warm-up, a straight line through the memory (least squares) must rise by no more than
`--kilobytes` an epoch, and the last epochs must have as many threads and descriptors as the first
ones. Prints a table; the exit code is 1 if anything grows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from infeed.demo import draw_set

SIZE, BATCH = 32, 64
WARM_UP = 0.2  # of the epochs: caches of Python, JAX and malloc fill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kinds", nargs="+", default=["loader", "fit"])
    parser.add_argument("--kilobytes", type=float, default=50.0, metavar="KB")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "MANIFEST", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        kind, manifest, folder = options.child
        KINDS[kind](Path(manifest), Path(folder), options.epochs)
        return
    is_flat = True
    print("kind    epochs  MB at first  at last  KB an epoch  threads  descriptors")
    with tempfile.TemporaryDirectory() as scratch:
        leaves = draw_set(Path(scratch) / "leaves", train=options.images, validation=64, size=48)
        for path in leaves.train_images.iterdir():
            os.utime(path, (1e9, 1e9))  # what was written just now is not kept
        for kind in options.kinds:
            rows = measured(kind, leaves.train_manifest, Path(scratch), options.epochs)
            is_flat &= told(kind, rows, options.kilobytes)
    raise SystemExit(0 if is_flat else 1)


def measured(kind: str, manifest: Path, scratch: Path, epochs: int) -> np.ndarray:
    """int64 (epochs, 3): KB of anonymous memory, threads, descriptors at the end of each epoch."""
    folder = scratch / kind
    folder.mkdir()
    command = [sys.executable, __file__, "--epochs", str(epochs), "--child", kind]
    subprocess.run([*command, str(manifest), str(folder)], check=True)
    rows = json.loads((folder / "rows.json").read_text("utf-8"))
    return np.array(rows, np.int64)


def told(kind: str, rows: np.ndarray, most_kilobytes: float) -> bool:
    """Prints what came of one kind; whether nothing grows."""
    rows = rows[int(len(rows) * WARM_UP) :]
    memory, threads, descriptors = rows.T
    slope = float(np.polyfit(np.arange(len(memory)), memory, 1)[0])
    print(
        f"{kind:<8}{len(rows):>6}{memory[0] / 1024:>13.1f}{memory[-1] / 1024:>9.1f}{slope:>13.1f}"
        f"{spread(threads):>9}{spread(descriptors):>13}",
        flush=True,
    )
    return slope <= most_kilobytes and stays(threads) and stays(descriptors)


def stays(counts: np.ndarray) -> bool:
    """Whether the last third has about as many as the first.

    JAX starts a thread late now and then, and a thread that has ended may be seen a moment longer.
    """
    third = max(len(counts) // 3, 1)
    return bool(abs(np.median(counts[-third:]) - np.median(counts[:third])) <= 1)


def spread(counts: np.ndarray) -> str:
    """`7`, or `6..9`."""
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}..{high}"


def look() -> tuple[int, int, int]:
    """(KB of anonymous memory, threads, descriptors) of this process, now.

    Without the threads that make batches ahead, which come and go, a few at a time.
    """
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    memory = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    # Less the one that lists them.
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
    # A thread that was joined may be in the system's list a moment longer.
    counts = [other_threads()]
    for _ in range(20):
        time.sleep(0.001)
        counts.append(other_threads())
    return memory, min(counts), descriptors


def other_threads() -> int:
    """How many threads the system knows, but for ours."""
    ours = [each for each in threading.enumerate() if each.name.startswith("infeed-")]
    assert len(ours) <= 8, "more threads than two loaders may have"
    return sum(1 for _ in Path("/proc/self/task").iterdir()) - len(ours)


def bare(manifest: Path, folder: Path, epochs: int) -> None:
    """Epochs of a loader alone."""
    from infeed import Loader, Manifest, Recipe, Sampler

    loader = Loader(
        Manifest.from_json(manifest, images=manifest.parent / "images"),
        Recipe(height=SIZE, width=SIZE),
        Sampler(seed=1, batch_size=BATCH),
        cache=str(folder / "cache"),
    )
    rows = []
    for epoch in range(epochs):
        with loader.epoch(epoch) as batches:
            for _ in batches:
                pass
        rows.append(look())
    loader.close()
    (folder / "rows.json").write_text(json.dumps(rows), "utf-8")


def fit(manifest: Path, folder: Path, epochs: int) -> None:
    """Epochs of `fit`, with all that `infeed train` has."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    import infeed

    rows = []

    class Look(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            rows.append(look())

    settings: dict[str, Any] = {"image_size": (SIZE, SIZE), "batch_size": BATCH, "verbose": False}
    images = manifest.parent / "images"
    train = infeed.image_dataset_from_manifest(
        manifest, images, seed=1, cache=folder / "cache", duplicates="keep", **settings
    )
    validation = manifest.parents[1] / "validation"
    val = infeed.image_dataset_from_manifest(
        validation / "annotations.json",
        validation / "images",
        class_names=train.class_names,
        shuffle=False,
        **settings,
    )
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(train.num_classes, activation="softmax"),
        ]
    )
    model.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    backup = infeed.BackupAndRestore(folder / "backup")
    callbacks = [backup, Look()]
    with train, val:
        model.fit(train, validation_data=val, epochs=epochs, verbose=0, callbacks=callbacks)
    (folder / "rows.json").write_text(json.dumps(rows), "utf-8")


KINDS: dict[str, Callable[[Path, Path, int], None]] = {"loader": bare, "fit": fit}

if __name__ == "__main__":
    main()
