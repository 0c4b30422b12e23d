"""Trains on a leaf set with the hand-written generator: `python before.py FOLDER`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

from generator import generate, read_annotations
from model import build_model

# All of these are typed in by hand and wrong for the next set.
CLASSES = 6
TRAIN_IMAGES = 900
SIZE = 64
BATCH_SIZE = 32
VALIDATION_SAMPLE = 64  # images per validation, at random


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a leaf set: train/annotations.json, ...")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--without", default="", help="the damaged image that you have found")
    arguments = parser.parse_args()
    train = arguments.folder / "train"
    validation = arguments.folder / "validation"
    train_rows = [
        row
        for row in read_annotations(train / "annotations.json")
        if row["image_id"] != arguments.without
    ]
    validation_rows = read_annotations(validation / "annotations.json")

    model = build_model(size=SIZE, classes=CLASSES, scale=1.0)
    model.fit(
        generate(
            train_rows,
            train / "images",
            size=SIZE,
            classes=CLASSES,
            batch_size=BATCH_SIZE,
        ),
        steps_per_epoch=TRAIN_IMAGES // BATCH_SIZE,
        validation_data=generate(
            validation_rows,
            validation / "images",
            size=SIZE,
            classes=CLASSES,
            batch_size=VALIDATION_SAMPLE,
        ),
        validation_steps=1,
        epochs=arguments.epochs,
        shuffle=False,
        verbose=2,
    )


if __name__ == "__main__":
    main()
