"""Pictures made on the spot, in every format, and what they should look like decoded."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from infeed.sample.decode import decode_into
from infeed.sample.recipe import Recipe
from infeed.sample.scratch import Scratch

Pixels = npt.NDArray[np.uint8]


def make_photo(height: int, width: int) -> Pixels:
    """uint8 (height, width, 3): smooth, so that lossy formats keep it, and without symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    red = x * 255 // max(width - 1, 1)
    green = y * 255 // max(height - 1, 1)
    blue = (x + 2 * y) * 255 // max(width + 2 * height - 3, 1)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def make_file(
    image: Image.Image, format_: str, *, orientation: int = 1, **options: object
) -> bytes:
    file = io.BytesIO()
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(file, format_, **options)
    return file.getvalue()


def run_decode(data: bytes, recipe: Recipe) -> Pixels:
    """The row of a batch between two others, which must stay as they were."""
    batch = np.full((3, *recipe.shape), 77, np.uint8)
    decode_into(data, recipe, batch[1], Scratch())
    assert (batch[0] == 77).all()
    assert (batch[2] == 77).all()
    return batch[1]


@pytest.fixture(scope="session")
def photo() -> Callable[[int, int], Pixels]:
    return make_photo


@pytest.fixture(scope="session")
def file() -> Callable[..., bytes]:
    return make_file


@pytest.fixture(scope="session")
def decode() -> Callable[[bytes, Recipe], Pixels]:
    return run_decode


@pytest.fixture(scope="session")
def mutants() -> ModuleType:
    """`mutants.py` beside this file, which programs in processes of their own import, too."""
    spec = importlib.util.spec_from_file_location("mutants", Path(__file__).with_name("mutants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def jpeg_410(mutants: ModuleType) -> bytes:
    """A JPEG 256 x 128 with one chroma sample for 4 x 2 of luma, which few encoders write."""
    return mutants.encode_410(np.random.default_rng(0).integers(40, 216, (16, 32)))
