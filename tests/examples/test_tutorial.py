"""The tutorial's generator and its replacement, side by side."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import infeed
from infeed.demo import LeafSet, draw_set

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial"


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> LeafSet:
    return draw_set(tmp_path_factory.mktemp("leaves"), train=60, validation=20, size=96)


def same_way(leaves: LeafSet, **options: object) -> infeed.ImageDataset:
    dataset: infeed.ImageDataset = infeed.image_dataset_from_manifest(
        leaves.train_manifest,
        leaves.train_images,
        image_column="image_id",
        label_column="disease_class",
        label_mode="categorical",
        color_mode="bgr",
        decode="exact",
        dtype="float32",
        scale=1 / 255,
        image_size=(64, 64),
        batch_size=16,
        verbose=False,
        **options,
    )
    return dataset


@pytest.mark.parametrize("sampling", ["sequential", "shuffle", "replacement"])
def test_the_same_records_give_bit_identical_images_and_labels(
    leaves: LeafSet, tutorial: ModuleType, sampling: str
) -> None:
    rows = tutorial.read_annotations(leaves.train_manifest)
    dataset = same_way(leaves, sampling=sampling, seed=3)
    compared = 0
    with dataset.loader.epoch(0) as batches:
        for batch in batches:
            # The generator dies of the file that is cut off: compare all others.
            whole = [
                i for i, p in enumerate(batch.positions) if rows[p]["image_id"] != leaves.truncated
            ]
            images, labels = tutorial.batch_of(
                [rows[batch.positions[i]] for i in whole], leaves.train_images, size=64, classes=6
            )
            assert batch.labels is not None
            assert images.dtype == batch.images.dtype
            assert labels.dtype == batch.labels.dtype
            np.testing.assert_array_equal(batch.images[whole], images)
            np.testing.assert_array_equal(batch.labels[whole], labels)
            compared += len(whole)
    assert compared >= 55


def test_draws_with_replacement_leave_out_and_repeat_images_as_the_generator_does(
    leaves: LeafSet,
) -> None:
    stream = same_way(leaves, sampling="replacement", seed=1).loader.endless()
    with stream as batches:
        drawn = np.concatenate([b.positions for b in itertools.islice(batches, 400)])
    counts = np.bincount(drawn, minlength=60)
    assert counts.min() > 50  # 100 expected, standard deviation 10
    assert counts.max() < 150
    epochs = drawn.reshape(100, 60)
    missed = np.mean([60 - len(np.unique(epoch)) for epoch in epochs]) / 60
    assert abs(missed - (1 - 1 / 60) ** 60) < 0.02  # 36.5 % of an epoch unseen


@pytest.mark.parametrize("program", ["before.py", "after.py"])
def test_both_programs_of_the_example_train(leaves: LeafSet, program: str) -> None:
    arguments = [str(leaves.folder), "--epochs", "1"]
    if program == "before.py":
        arguments += ["--without", leaves.truncated]
    done = subprocess.run(
        [sys.executable, str(TUTORIAL / program), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "val_accuracy" in done.stdout
