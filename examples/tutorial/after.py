"""Trains the same model on a leaf set with infeed: `python after.py FOLDER`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

from model import build_model

import infeed

SIZE = 64
BATCH_SIZE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a leaf set: train/annotations.json, ...")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()

    train = infeed.image_dataset_from_manifest(
        arguments.folder / "train" / "annotations.json",
        arguments.folder / "train" / "images",
        image_column="image_id",
        label_column="disease_class",
        label_mode="categorical",
        image_size=(SIZE, SIZE),
        batch_size=BATCH_SIZE,
        shuffle=True,
        seed=7,
    )
    validation = infeed.image_dataset_from_manifest(
        arguments.folder / "validation" / "annotations.json",
        arguments.folder / "validation" / "images",
        image_column="image_id",
        label_column="disease_class",
        label_mode="categorical",
        class_names=train.class_names,  # the same numbers for the same classes
        image_size=(SIZE, SIZE),
        batch_size=BATCH_SIZE,
        shuffle=False,
    )
    model = build_model(size=SIZE, classes=train.num_classes, scale=1 / 255)
    model.fit(train, validation_data=validation, epochs=arguments.epochs, verbose=2)


if __name__ == "__main__":
    main()
