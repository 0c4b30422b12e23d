"""What `infeed bench` says of a machine that others use."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, Recipe, Sampler
from infeed.bench import bench
from infeed.cli.bench_words import in_words

JPEG = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "a.jpg").write_bytes(JPEG)
    manifest = Manifest.from_rows(["a.jpg"], images=folder)
    return bench(Loader(manifest, Recipe(height=8, width=8), Sampler()), epochs=1)


@pytest.mark.parametrize(("runs", "is_said"), [((100.0, 110.0), False), ((100.0, 130.0), True)])
def test_limits_that_lie_far_apart_are_said(result, runs, is_said):
    said = in_words(dataclasses.replace(result, limit_runs=runs))
    assert ("The machine was not quiet" in said) == is_said


def test_a_cold_figure_stands_beside_the_warm_one(result):
    cold = dataclasses.replace(
        result, cold_decoded_images_per_second=50.0, decoded_images_per_second=100.0
    )
    assert "Files not in memory: 50 images/s, 0.50 of 100 from memory" in in_words(cold)
    assert "not in memory" not in in_words(result)
