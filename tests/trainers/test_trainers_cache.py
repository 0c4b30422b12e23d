"""`fit` with a cache is `fit` without one, but for what it decodes."""

from __future__ import annotations

import os

import cv2
import keras
import numpy as np
import pytest

from infeed import (
    BackupAndRestore,
    Cache,
    ResumeError,
    image_dataset_from_directory,
    image_dataset_from_manifest,
)

CLASSES = ("健康", "rust")
EACH = 12


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures a class, of long ago: those of this moment would not be kept."""
    root = tmp_path / "照片"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            path = root / name / f"{number}.png"
            grey = np.full((20, 30, 3), 10 * number + 100 * label, np.uint8)
            path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
            os.utime(path, (1_700_000_000, 1_700_000_000))
    return root


class StoppedError(Exception):
    """What interrupts a run in these tests."""


class StopAfter(keras.callbacks.Callback):
    """Interrupts a run when so many steps were trained."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_begin(self, batch, logs=None):
        if not self.left:
            raise StoppedError
        self.left -= 1


@pytest.fixture
def fit(folder, tmp_path):
    """Trains two epochs on three quarters of the folder, validates on the rest."""

    def fit(cache=None, *, backup=None, stop_after=None, **arguments):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((16, 16, 3), dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(2, 3, strides=4),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        train, validation = image_dataset_from_directory(
            folder,
            image_size=16,
            batch_size=4,
            seed=5,
            validation_split=0.25,
            subset="both",
            verbose=False,
            cache=cache,
            **arguments,
        )
        callbacks = [] if stop_after is None else [StopAfter(stop_after)]
        if backup is not None:
            callbacks.append(BackupAndRestore(tmp_path / backup, save_freq=1))
        with train, validation:
            try:
                model.fit(
                    train, validation_data=validation, epochs=2, verbose=0, callbacks=callbacks
                )
            except StoppedError:
                assert stop_after is not None
        return model, train.loader.cache_counts, validation.loader.cache_counts

    return fit


def assert_same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cache_changes_nothing_but_what_is_decoded(fit, tmp_path):
    plain, counts, _ = fit()
    assert not any((counts.hits, counts.misses, counts.stored))
    kept, trained, validated = fit(tmp_path / "cache")
    assert_same_weights(kept, plain)
    # The end of an epoch and the beginning of the next one are made at once, and may meet.
    assert 18 <= trained.stored <= 24
    assert validated.stored == 6
    assert trained.hits >= 18
    assert validated.hits >= 6
    again, trained, validated = fit(tmp_path / "cache")
    assert_same_weights(again, plain)
    assert trained.misses == validated.misses == 0


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_run_is_resumed_exactly_on_a_cache_of_which_a_part_is_gone(fit, tmp_path, encoding):
    whole, _, _ = fit(Cache(tmp_path / "whole", encoding=encoding))
    cache = Cache(tmp_path / "cache", encoding=encoding)
    fit(cache, backup="backup", stop_after=6)
    for path in list((tmp_path / "cache").glob("*/*.seg"))[::2]:
        path.unlink()
    resumed, _, _ = fit(cache, backup="backup")
    assert_same_weights(resumed, whole)


def test_a_run_is_not_resumed_with_another_encoding(fit, tmp_path):
    fit(Cache(tmp_path / "cache", encoding="raw"), backup="backup", stop_after=3)
    with pytest.raises(ResumeError, match="reencoding: saved None, now 'jpeg'"):
        fit(Cache(tmp_path / "cache", encoding="jpeg"), backup="backup")


def test_the_settings_of_a_cache_are_given_flat_or_whole(folder, tmp_path):
    options = {"batch_size": 4, "verbose": False}
    flat = image_dataset_from_directory(
        folder, cache=tmp_path / "c", cache_limit="1GB", cache_encoding="jpeg", **options
    )
    whole = image_dataset_from_directory(
        folder, cache=Cache(tmp_path / "c", encoding="jpeg", limit=10**9), **options
    )
    assert flat.loader.cache == whole.loader.cache
    for given in ({"cache": flat.loader.cache, "cache_limit": 5}, {"cache_encoding": "raw"}):
        with pytest.raises(ValueError, match="cache_limit and cache_encoding: pass"):
            image_dataset_from_directory(folder, **options, **given)


def test_a_cache_among_the_class_folders_is_no_class(folder):
    for _ in range(2):
        dataset = image_dataset_from_directory(folder, cache=folder / "cache", verbose=False)
        assert sorted(dataset.class_names) == sorted(CLASSES)
        for _ in dataset:
            pass
        dataset.close()
    assert (folder / "cache" / "infeed-cache.json").exists()


def test_verbose_says_how_images_are_kept_and_why(folder, tmp_path, capsys):
    manifest = image_dataset_from_directory(folder, verbose=False).loader.manifest
    image_dataset_from_manifest(manifest, image_size=32, cache=tmp_path / "cache")
    said = capsys.readouterr().out
    assert (
        f"Cache in {tmp_path / 'cache'}: raw (raw images take 73.7 kB, which fit the disk" in said
    )
