"""Training, evaluating and predicting with any share of bad images: shapes and metrics hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from infeed import ImageDataset, Loader, Manifest, Recipe, Sampler, TooManyBadImagesError
from infeed.stream.quarantine import HOPELESS

COUNT, BATCH = 100, 8
STEPS = 13


def spoil(path: Path, kind: int) -> None:
    """Makes a file bad in one of five ways."""
    data = path.read_bytes()
    path.unlink()
    if kind == 1:
        path.write_bytes(b"")
    elif kind == 2:
        path.write_bytes(b"<!doctype html> not found")
    elif kind == 3:
        path.write_bytes(data[: len(data) // 2])
    elif kind == 4:
        path.mkdir()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for position in range(COUNT):
        grey = np.full((16, 16, 3), 2 * position, np.uint8)
        (tmp_path / f"图 {position:03}.png").write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    return tmp_path


def bad_positions(share: float) -> list[int]:
    order = np.random.default_rng(5).permutation(COUNT)
    return sorted(order[: round(share * COUNT)].tolist())


def table(folder: Path, positions: list[int]) -> Manifest:
    return Manifest.from_rows(
        [f"图 {position:03}.png" for position in positions],
        [position % 2 for position in positions],
        images=folder,
    )


def dataset(folder: Path, positions: list[int], *, weights: bool, **options: Any) -> ImageDataset:
    settings: dict[str, Any] = {"max_bad": 1.0, "dtype": "float32", "scale": 1 / 255, **options}
    sampler = Sampler(seed=1, batch_size=BATCH, sampling="sequential" if weights else "shuffle")
    loader = Loader(table(folder, positions), Recipe(height=16, width=16), sampler, **settings)
    return ImageDataset(loader, weights=weights)


def classifier() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[
            "accuracy",
            keras.metrics.SparseCategoricalCrossentropy(name="entropy", from_logits=True),
        ],
    )
    return model


class Shapes(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Counts the steps of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.steps.append(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps[-1] += 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_training_has_the_same_steps_and_shapes_whatever_is_bad(folder: Path, share: float) -> None:
    bad = bad_positions(share)
    for kind, position in enumerate(bad):
        spoil(folder / f"图 {position:03}.png", kind % 5)
    data = dataset(folder, list(range(COUNT)), weights=False)
    counter = Shapes()
    with data:
        classifier().fit(data, epochs=2, verbose=0, callbacks=[counter])
    assert counter.steps == [STEPS, STEPS]
    assert data.loader.quarantine.positions.tolist() == bad
    with data.loader.epoch(0) as batches:
        for batch in batches:
            assert len(batch) == (BATCH if batch.number < STEPS - 1 else COUNT % BATCH)
            stand_ins = batch.sources != batch.positions
            assert set(batch.positions[stand_ins]) <= set(bad)
            assert set(batch.sources.tolist()).isdisjoint(bad)
            np.testing.assert_array_equal(batch.sources % 2, batch.positions % 2)  # its class
            np.testing.assert_array_equal(batch.labels, batch.sources % 2)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_metrics_of_an_evaluation_are_those_of_the_good_images_alone(
    folder: Path, share: float
) -> None:
    bad = bad_positions(share)
    good = [position for position in range(COUNT) if position not in bad]
    for kind, position in enumerate(bad):
        spoil(folder / f"图 {position:03}.png", kind % 5)
    model = classifier()
    whole = dataset(folder, list(range(COUNT)), weights=True, on_bad_image="mask")
    alone = dataset(folder, good, weights=True, on_bad_image="raise")
    with whole, alone:
        masked = model.evaluate(whole, verbose=0, return_dict=True)
        expected = model.evaluate(alone, verbose=0, return_dict=True)
    for name in ("accuracy", "entropy"):  # Keras' loss divides by all rows, whatever they weigh
        assert masked[name] == pytest.approx(expected[name], rel=1e-5)
    assert whole.loader.quarantine.positions.tolist() == bad


@pytest.mark.parametrize("on_bad_image", ["replace", "mask"])
def test_a_set_with_nothing_but_bad_images_ends_within_the_first_batches(
    folder: Path, on_bad_image: str
) -> None:
    for position in range(COUNT):
        spoil(folder / f"图 {position:03}.png", position % 5)
    data = dataset(
        folder,
        list(range(COUNT)),
        weights=on_bad_image == "mask",
        on_bad_image=on_bad_image,
        max_bad=0.9,
    )
    counter = Shapes()
    with pytest.raises(TooManyBadImagesError) as caught, data:
        classifier().fit(data, epochs=2, verbose=0, callbacks=[counter])
    # Black rows are batches, too, until it is clear that there is nothing else.
    assert sum(counter.steps) <= (HOPELESS // BATCH if on_bad_image == "mask" else 0)
    text = str(caught.value)
    assert "bad images" in text
    assert text.count("\n  record ") == 5


def test_predictions_have_a_row_for_each_image_and_the_failed_ones_are_known(folder: Path) -> None:
    bad = bad_positions(0.1)
    for kind, position in enumerate(bad):
        spoil(folder / f"图 {position:03}.png", kind % 5)
    data = dataset(folder, list(range(COUNT)), weights=True, on_bad_image="mask")
    with data:
        predicted = classifier().predict(data, verbose=0)
    assert predicted.shape == (COUNT, 2)
    assert data.loader.quarantine.positions.tolist() == bad
    with data.loader.epoch(0) as batches:
        failed = np.concatenate([batch.failed for batch in batches])
    assert np.flatnonzero(failed).tolist() == bad
