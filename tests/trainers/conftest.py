"""Pictures that tell their own position, and data sets that log what Keras took."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from infeed import ImageDataset, Loader, Manifest, MemoryStorage, Recipe, Sampler, Shard

# What differs between the back ends, all of it. To learn the shapes, JAX and PyTorch begin a
# pass, take a batch, and begin again; TensorFlow takes two batches by random access, before
# each `fit` and `evaluate`, and reads a pass ahead of the training.
BACKEND = keras.backend.backend()
LOOKED_AT = {"jax": 1, "torch": 1, "tensorflow": 0}[BACKEND]
PEEKED_AT = {"jax": 0, "torch": 0, "tensorflow": 2}[BACKEND]

STEP = 5  # between the grey values of neighbours
NOT_A_PICTURE = b"no picture at all"


def picture(position: int) -> bytes:
    """A PNG, grey all over: its value tells its position in the manifest."""
    grey = np.full((16, 16, 3), position * STEP, np.uint8)
    encoded: bytes = cv2.imencode(".png", grey)[1].tobytes()
    return encoded


def positions_in(images: np.ndarray) -> list[int]:
    """Which records these images are; the inverse of `picture`."""
    return [int(value) // STEP for value in images[:, 0, 0, 0]]


class LoggedDataset(ImageDataset):
    """Also appends the positions of every batch to `log`, in a pass, or else to `peeks`."""

    def __init__(self, loader: Loader, log: list[Any], *, weights: bool = False) -> None:
        super().__init__(loader, weights=weights)
        self.log = log
        self.peeks: list[Any] = []

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        before = self.batches_served
        item = super().__getitem__(index)
        log = self.peeks if self.batches_served == before else self.log
        log.append(positions_in(np.asarray(item[0])))
        return item


class Seen(keras.layers.Layer):
    """Passes pictures on, and counts how often each position was trained on."""

    def build(self, shape: Any) -> None:
        self.times = self.add_weight(shape=(256 // STEP,), dtype="int32", trainable=False)

    def call(self, images: Any, training: bool = False) -> Any:
        if training:
            values = keras.ops.cast(images[:, 0, 0, 0], "int32")
            each = keras.ops.one_hot(values // STEP, 256 // STEP, dtype="int32")
            self.times.assign(self.times + keras.ops.sum(each, axis=0))
        return images


class LoggedEpochs(keras.callbacks.Callback):
    """Cuts the log of a data set into epochs.

    Attributes:
        looked: the batches that were taken from a pass before training.
        epochs: those that were taken in each epoch; TensorFlow reads ahead.
        trained: the sorted positions that each epoch trained on, told by a `Seen` in the model.
        numbers: what Keras calls the epochs.
    """

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log
        self.looked: list[Any] = []
        self.epochs: list[list[list[int]]] = []
        self.trained: list[list[int]] = []
        self.numbers: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.looked += self.log
        self.log.clear()
        self._times = self._times_trained()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.numbers.append(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(list(self.log))
        self.log.clear()
        before, self._times = self._times, self._times_trained()
        if self._times is not None:
            trained = self._times if before is None else self._times - before
            self.trained.append(np.repeat(np.arange(len(trained)), trained).tolist())

    def _times_trained(self) -> np.ndarray | None:
        for layer in self.model.layers:
            if isinstance(layer, Seen) and layer.built:
                return keras.ops.convert_to_numpy(layer.times).copy()
        return None


class Pictures:
    """Makes loaders over `picture`s, and what the tests do with them."""

    STEP = STEP
    BACKEND = BACKEND
    LOOKED_AT = LOOKED_AT
    PEEKED_AT = PEEKED_AT
    LoggedDataset = LoggedDataset
    LoggedEpochs = LoggedEpochs
    positions_in = staticmethod(positions_in)

    def loader(
        self,
        n: int = 22,
        *,
        batch_size: int = 4,
        classes: int = 2,
        seed: int = 3,
        sampling: Any = "shuffle",
        remainder: Any = "keep",
        bad: tuple[int, ...] = (),
        labelled: bool = True,
        weights: list[float] | None = None,
        recipe: Recipe | None = None,
        shard: Shard | None = None,
        **options: Any,
    ) -> Loader:
        names = [f"叶 {position}.png" for position in range(n)]
        files = {
            name: NOT_A_PICTURE if position in bad else picture(position)
            for position, name in enumerate(names)
        }
        labels = [f"class {position % classes}" for position in range(n)] if labelled else None
        return Loader(
            Manifest.from_rows(names, labels, weights=weights),
            recipe or Recipe(height=8, width=8),
            Sampler(seed, batch_size, sampling, remainder, shard or Shard()),
            storage=MemoryStorage(files),
            threads=2,
            **options,
        )

    def epochs(self, loader: Loader, numbers: range) -> list[list[list[int]]]:
        """What the order says about these epochs: their batches' positions."""
        n = len(loader.manifest)
        return [
            [
                loader.sampler.plan(n, epoch, number).positions.tolist()
                for number in range(loader.steps(epoch))
            ]
            for epoch in numbers
        ]

    def model(
        self,
        classes: int = 2,
        *,
        built: bool = True,
        seen: bool = False,
        channels: int = 3,
        **compiled: Any,
    ) -> Any:
        """A classifier of one matrix; with a `Seen` in it, it tells what it was trained on."""
        layers = [
            *([Seen(dtype="uint8")] if seen else []),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
        if built:
            layers.insert(0, keras.Input((8, 8, channels), dtype="uint8"))
        model = keras.Sequential(layers)
        model.compile(**{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"} | compiled)
        return model

    def weights_of(self, model: Any) -> list[np.ndarray]:
        """Copies of a model's weights, of what it has seen apart."""
        # Not get_weights(): under numpy 2 it warns.
        weights = [weight for weight in model.weights if weight.dtype != "int32"]
        return [keras.ops.convert_to_numpy(weight).copy() for weight in weights]

    def grey_model(self, **compiled: Any) -> Any:
        """Predicts the grey value of each picture: what its position is."""
        image = keras.Input((8, 8, 3), dtype="uint8")
        grey = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(image))
        model = keras.Model(image, grey[:, :1])
        model.compile(**{"loss": "mse"} | compiled)
        return model


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture
def fit() -> Callable[..., LoggedEpochs]:
    """Fits a model to a `LoggedDataset`; returns what each epoch was trained on."""

    def fit(model: Any, dataset: LoggedDataset, **arguments: Any) -> LoggedEpochs:
        logged = LoggedEpochs(dataset.log)
        callbacks = [logged, *arguments.pop("callbacks", [])]
        model.fit(dataset, verbose=0, callbacks=callbacks, **arguments)
        return logged

    return fit


@pytest.fixture(autouse=True)
def _nothing_uncollected() -> Iterator[None]:
    """Data sets in the cycles that Keras leaves behind end their threads now."""
    yield
    gc.collect()
