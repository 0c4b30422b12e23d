"""The installed command, and a small drawn set under a Chinese name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infeed.demo import LeafSet, draw_set

COMMAND = Path(sys.executable).with_name("infeed")

# Compiles in a fraction of the time that `small` takes.
MODEL = """
import keras

def tiny(input_shape, num_classes):
    image = keras.Input(input_shape, dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(num_classes, activation="softmax")(x))

def broken(input_shape, num_classes):
    raise TypeError("the author's mistake")

def not_a_number(input_shape, num_classes):
    model = tiny(input_shape, num_classes)
    model.compile(loss=nothing)
    return model

@keras.saving.register_keras_serializable()
def nothing(truth, predicted):
    return predicted[:, 0] * float("nan")
"""


class Command:
    """Runs `infeed` in a folder of its own."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.tiny = ("--model", f"{model}:tiny", "--size", "8", "--batch", "8")
        self.model = model

    def __call__(self, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, run to its end."""
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        """The command, running; in a process group of its own, as in a terminal."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )


@pytest.fixture(scope="session")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> LeafSet:
    folder = tmp_path_factory.mktemp("病害 照片")
    return draw_set(folder / "leaves", train=40, validation=15, size=64)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.py"
    path.write_text(MODEL, "utf-8")
    return path


@pytest.fixture
def infeed(tmp_path: Path, model_file: Path) -> Command:
    folder = tmp_path / "工作"
    folder.mkdir()
    return Command(folder, model_file)


@pytest.fixture(scope="session")
def infeed_in(model_file: Path) -> Callable[[Path], Command]:
    return lambda folder: Command(folder, model_file)
