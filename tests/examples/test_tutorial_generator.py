"""Promises of the tutorial's generator: other code is compared with it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from infeed.demo import LeafSet, draw_set

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial"


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> LeafSet:
    return draw_set(tmp_path_factory.mktemp("leaves"), train=30, validation=6, size=48)


def whole_rows(tutorial: ModuleType, leaves: LeafSet) -> list[dict[str, object]]:
    rows = tutorial.read_annotations(leaves.train_manifest)
    return [row for row in rows if row["image_id"] != leaves.truncated]


def test_a_batch_of_given_rows_has_their_pixels_and_labels(
    tutorial: ModuleType, leaves: LeafSet
) -> None:
    rows = whole_rows(tutorial, leaves)
    images, labels = tutorial.batch_of(rows, leaves.train_images, size=32, classes=6)
    assert images.shape == (29, 32, 32, 3)
    assert images.dtype == labels.dtype == np.float32
    assert labels.tolist() == np.eye(6)[[row["disease_class"] for row in rows]].tolist()
    for row, image in zip(rows, images, strict=True):
        encoded = (leaves.train_images / row["image_id"]).read_bytes()
        blue_first = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        resized = cv2.resize(blue_first, (32, 32), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(np.rint(image * 255), resized)


def test_batches_come_for_ever_and_are_those_of_the_drawn_rows(
    tutorial: ModuleType, leaves: LeafSet
) -> None:
    rows = whole_rows(tutorial, leaves)
    arguments = {"size": 16, "classes": 6}
    batches = tutorial.generate(
        rows, leaves.train_images, batch_size=8, random=np.random.default_rng(5), **arguments
    )
    again = np.random.default_rng(5)
    for _ in range(10):  # 80 images out of 29
        images, labels = next(batches)
        drawn = tutorial.draw_rows(rows, 8, again)
        expected = tutorial.batch_of(drawn, leaves.train_images, **arguments)
        assert np.array_equal(images, expected[0])
        assert np.array_equal(labels, expected[1])


def test_rows_are_drawn_with_replacement(tutorial: ModuleType) -> None:
    rows = [{"disease_class": 0, "image_id": str(place)} for place in range(1000)]
    drawn = tutorial.draw_rows(rows, 1000, np.random.default_rng(0))
    unseen = 1000 - len({row["image_id"] for row in drawn})
    assert 320 < unseen < 420


def test_a_file_that_is_no_image_ends_the_generator_without_its_name(
    tutorial: ModuleType, leaves: LeafSet, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    rows = [{"disease_class": 0, "image_id": "broken.jpg"}]
    with pytest.raises(cv2.error) as caught:
        tutorial.batch_of(rows, tmp_path, size=16, classes=6)
    assert "broken" not in str(caught.value)
