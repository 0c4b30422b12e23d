"""Programs that use infeed, and how they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Eight grey pictures a batch, each four times its number; the last batch has five.
BEGIN = """
import os, sys, threading
import cv2
import numpy as np
from infeed import Loader, LoaderClosedError, Manifest, MemoryStorage, Recipe, Sampler

files = {
    f"{n}.jpg": cv2.imencode(".jpg", np.full((32, 32, 3), 4 * n, np.uint8))[1].tobytes()
    for n in range(53)
}
manifest = Manifest.from_rows(files, [n % 3 for n in range(53)])

def make(**options):
    return Loader(
        manifest, Recipe(height=16, width=16), Sampler(seed=3, batch_size=8),
        storage=MemoryStorage(files), threads=4, **options,
    )

def positions(batches):
    return [batch.positions.tolist() for batch in batches]

loader = make()
"""
KERAS = """
os.environ["KERAS_BACKEND"] = "jax"
import keras
from infeed import ImageDataset

class Then(keras.callbacks.Callback):
    def __init__(self, do, step=2):
        super().__init__()
        self.do, self.step = do, step

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.step:
            self.do()

def model():
    made = keras.Sequential([
        keras.Input((16, 16, 3), dtype="uint8"), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, activation="softmax"),
    ])
    made.compile("sgd", loss="sparse_categorical_crossentropy")
    return made
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in a process of its own; one that hangs fails the test."""

    def run(program: str, *, keras: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", BEGIN + (KERAS if keras else "") + program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
