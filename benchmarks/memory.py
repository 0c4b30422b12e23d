"""Anonymous memory of a whole training run, beyond the same training fed from one fixed batch.

    python benchmarks/memory.py [MANIFEST IMAGES] [--rows 1000 200000]

Each run is a process of its own, whose RssAnon (private memory, without the page cache) is
read every 50 ms. Runs with more rows than the manifest has name its files again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from infeed.demo import draw_set

SIZE, BATCH = 224, 64
VALIDATION = "validation.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 200_000])
    parser.add_argument("--child", choices=["fixed", "infeed"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        run_child(arguments.child, arguments.manifest, arguments.images)
        return
    with tempfile.TemporaryDirectory() as scratch:
        manifest, images = arguments.manifest, arguments.images
        if manifest is None:
            leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
            manifest, images = leaves.train_manifest, leaves.train_images
        rows = json.loads(manifest.read_bytes())
        (Path(scratch) / VALIDATION).write_text(json.dumps(rows[:200]), "utf-8")
        for count in arguments.rows:
            repeated = Path(scratch) / f"{count}.json"
            repeated.write_text(json.dumps([rows[i % len(rows)] for i in range(count)]), "utf-8")
            fixed, ours = (peak_mb(child, repeated, images) for child in ("fixed", "infeed"))
            print(
                f"{count:,} rows: fixed batch {fixed:,.0f} MiB, infeed {ours:,.0f} MiB, "
                f"difference {ours - fixed:,.0f} MiB",
                flush=True,
            )


def peak_mb(child: str, manifest: Path, images: Path) -> float:
    """The largest RssAnon of a run, in MiB."""
    command = [sys.executable, __file__, str(manifest), str(images), "--child", child]
    process = subprocess.Popen(command)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, anonymous_mb(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{child} failed with {process.returncode}")
    return peak


def anonymous_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def run_child(kind: str, manifest: Path, images: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    import numpy as np

    import infeed
    from infeed.trainers.keras.training import train_model

    settings: dict[str, Any] = {
        "image_size": (SIZE, SIZE),
        "batch_size": BATCH,
        "duplicates": "keep",
        "verbose": False,
    }
    train = infeed.image_dataset_from_manifest(manifest, images, seed=0, **settings)
    model = cheap_model(keras, train.num_classes)
    if kind == "infeed":
        validation = infeed.image_dataset_from_manifest(
            manifest.with_name(VALIDATION), images, shuffle=False, **settings
        )
        with tempfile.TemporaryDirectory() as out:
            train_model(model, train, validation, epochs=1, out=Path(out))
        return
    steps, rest = divmod(len(train.loader.manifest), BATCH)
    whole = (np.zeros((BATCH, SIZE, SIZE, 3), np.uint8), np.zeros(BATCH, np.int32))
    short = (whole[0][:rest], whole[1][:rest])

    class Fixed(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return steps + bool(rest)

        def __getitem__(self, index: int) -> Any:
            return whole if index < steps else short

    # Step by step, or JAX queues dozens of steps, each with a copy of the batch.
    wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model.fit(Fixed(), epochs=1, shuffle=False, verbose=0, callbacks=[wait])


def cheap_model(keras: Any, classes: int) -> Any:
    """A model that is faster than any loader, so that the loader runs at its limit."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.MaxPooling2D(8),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("sgd", loss="sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    return model


if __name__ == "__main__":
    main()
