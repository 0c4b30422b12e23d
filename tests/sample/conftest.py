"""Pictures made on the spot, in every format, and what they should look like decoded."""

from __future__ import annotations

import io
from collections.abc import Callable

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
def jpeg_410() -> bytes:
    """A JPEG 256 x 128 with one chroma sample for 4 x 2 of luma, which few encoders write."""
    return _encode_410(np.random.default_rng(0).integers(40, 216, (16, 32)))


def _encode_410(luma: npt.NDArray[np.int64]) -> bytes:
    """Blocks of one grey each. luma: (block rows, block columns), multiples of 2 and 4."""
    rows, columns = luma.shape
    bits: list[str] = []

    def block(difference: int) -> None:
        size = abs(difference).bit_length()
        value = difference if difference >= 0 else difference + (1 << size) - 1
        bits.append(f"{size:04b}")  # the table below gives each size the code of its number
        bits.append(f"{value:0{size}b}" if size else "")
        bits.append("0")  # end of block

    last = 128
    for top in range(0, rows, 2):
        for left in range(0, columns, 4):
            for grey in luma[top : top + 2, left : left + 4].ravel().tolist():
                block(grey - last)
                last = grey
            block(0)
            block(0)
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    stream = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(code: int, content: bytes) -> bytes:
        return bytes((0xFF, code)) + (len(content) + 2).to_bytes(2, "big") + content

    size_bytes = (rows * 8).to_bytes(2, "big") + (columns * 8).to_bytes(2, "big")
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + bytes([8] * 64))
        + segment(0xC0, b"\x08" + size_bytes + bytes([3, 1, 0x42, 0, 2, 0x11, 0, 3, 0x11, 0]))
        + segment(0xC4, b"\0" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12)))
        + segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
        + segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
        + stream
        + b"\xff\xd9"
    )
