"""A small training run that may be killed at any instant and started again, for the tests.

    python killable_run.py FOLDER [--save-freq N] [--epochs N] [--option ...]

FOLDER gets `begun` (made anew when training begins), `epochs.jsonl` (a line when an epoch has
ended: its number, what Keras told, and how often each picture was trained so far), `backup/`
and, at the end, `weights.npz`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np

import infeed

COUNT = 60
STEP = 4  # between the grey values of neighbours


class Seen(keras.layers.Layer):
    """Counts, inside the model, how often each picture was trained."""

    def build(self, shape):
        self.seen = self.add_weight(shape=(COUNT,), initializer="zeros", trainable=False)

    def call(self, images, training=False):
        if training:
            grey = keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2, 3))
            positions = keras.ops.cast(keras.ops.round(grey / STEP), "int32")
            once = keras.ops.one_hot(positions, COUNT, dtype="float32")
            self.seen.assign(self.seen + keras.ops.sum(once, axis=0))
        return images

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, images.dtype)


class Log(keras.callbacks.Callback):
    """Writes what became of each epoch."""

    def __init__(self, folder: Path, layer: Seen, pause: float) -> None:
        super().__init__()
        self.folder, self.layer, self.pause = folder, layer, pause

    def on_epoch_begin(self, epoch, logs=None):
        (self.folder / "begun").touch()

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.pause)

    def on_epoch_end(self, epoch, logs=None):
        _ = self.model  # on JAX, brings the variables up to date
        seen = keras.ops.convert_to_numpy(self.layer.seen).astype(int).tolist()
        with (self.folder / "epochs.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": epoch, "logs": logs, "seen": seen}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--save-freq", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.01)
    parser.add_argument("--remainder", default="keep")
    parser.add_argument("--steps-per-epoch", type=int)
    options = parser.parse_args()
    folder = options.folder
    (folder / "begun").unlink(missing_ok=True)

    keras.utils.set_random_seed(5)
    files = {
        f"图 {number}.png": cv2.imencode(".png", np.full((8, 8, 3), STEP * number, np.uint8))[
            1
        ].tobytes()
        for number in range(COUNT)
    }
    manifest = infeed.Manifest.from_rows(files, [number % 3 for number in range(COUNT)])
    loader = infeed.Loader(
        manifest,
        infeed.Recipe(height=8, width=8),
        infeed.Sampler(seed=3, batch_size=8, remainder=options.remainder),
        storage=infeed.MemoryStorage(files),
        threads=2,
    )
    held_out = infeed.Loader(
        manifest,
        infeed.Recipe(height=8, width=8),
        infeed.Sampler(seed=4, batch_size=8, sampling="replacement"),
        storage=infeed.MemoryStorage(files),
        threads=1,
    )
    images = keras.Input((8, 8, 3), dtype="uint8")
    layer = Seen()
    x = keras.layers.Rescaling(1 / 255)(layer(images))
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(16, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.3)(x)
    model = keras.Model(images, keras.layers.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with (
        infeed.ImageDataset(loader) as train,
        infeed.ImageDataset(held_out) as validation,
    ):
        history = model.fit(
            train,
            validation_data=validation,
            epochs=options.epochs,
            steps_per_epoch=options.steps_per_epoch,
            verbose=0,
            callbacks=[
                keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
                infeed.BackupAndRestore(folder / "backup", save_freq=options.save_freq),
                keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.8),
                Log(folder, layer, options.pause),
            ],
        )
    weights = {
        str(number): keras.ops.convert_to_numpy(variable.value)
        for number, variable in enumerate([*model.variables, *model.optimizer.variables])
    }
    np.savez(folder / "weights.npz", **weights)
    (folder / "history.json").write_text(
        json.dumps({"epoch": history.epoch, "history": history.history})
    )


if __name__ == "__main__":
    sys.exit(main())
