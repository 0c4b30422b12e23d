"""decode_into: the one seam to the codecs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from infeed.sample.decode import decode_into
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch


@pytest.mark.parametrize(
    "out",
    [
        np.empty((8, 9, 3), np.uint8),
        np.empty((9, 8, 3), np.float32),
        np.empty((9, 8), np.uint8),
        np.empty((9, 16, 3), np.uint8)[:, ::2],
    ],
)
def test_a_row_of_another_form_is_refused(file, out):
    data = file(Image.new("RGB", (4, 4)), "PNG")
    with pytest.raises(ValueError, match=r"out must be C-contiguous uint8 of shape \(9, 8, 3\)"):
        decode_into(data, Recipe(9, 8), out, Scratch())


def test_a_scratch_that_was_used_before_changes_nothing(photo, file):
    files = [
        file(Image.fromarray(photo(height, width)), "JPEG", orientation=orientation)
        for height, width in ((300, 200), (20, 30), (500, 600))
        for orientation in range(1, 9)
    ]
    recipe = Recipe(64, 48)
    scratch = Scratch(kept_bytes=200_000)
    again, fresh = np.empty((2, *recipe.shape), np.uint8)
    for data in files * 2:
        decode_into(data, recipe, again, scratch)
        decode_into(data, recipe, fresh, Scratch())
        assert (again == fresh).all()


def test_threads_with_their_own_scratch_do_not_disturb_each_other(photo, file):
    recipe = Recipe(32, 32)
    files = [
        file(Image.fromarray(photo(60 + 7 * number, 90)), format_)
        for number in range(6)
        for format_ in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")
    ]
    alone = np.empty((len(files), *recipe.shape), np.uint8)
    for row, data in zip(alone, files, strict=True):
        decode_into(data, recipe, row, Scratch())

    def decode_all(_):
        batch = np.empty_like(alone)
        scratch = Scratch()
        for row, data in zip(batch, files, strict=True):
            decode_into(data, recipe, row, scratch)
        return batch

    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(decode_all, range(8)):
            assert (batch == alone).all()


def test_bytes_are_not_changed(photo, file):
    for format_ in ("JPEG", "PNG"):
        data = file(Image.fromarray(photo(30, 30)), format_)
        before = bytes(bytearray(data))
        decode_into(data, Recipe(8, 8), np.empty((8, 8, 3), np.uint8), Scratch())
        assert data == before


def test_importing_leaves_opencv_s_threads_alone():
    code = (
        "import cv2; cv2.setNumThreads(3)\n"
        "from infeed.sample.decode import use_one_thread_per_call\n"
        "assert cv2.getNumThreads() == 3\n"
        "use_one_thread_per_call()\n"
        "assert cv2.getNumThreads() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
