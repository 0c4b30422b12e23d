"""The hand-written generator that infeed replaces, kept as the reference to compare with.

Many a tutorial has one like it, from the days of Keras' `fit_generator`: it works, and each
comment below that says FAULT is a thing that goes wrong with it. See README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import numpy.typing as npt

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""images float32 (batch, size, size, 3), BGR, 0..1; labels float32 (batch, classes), one-hot."""


class Row(TypedDict):
    """A row of the annotations."""

    disease_class: int
    image_id: str


def read_annotations(path: str | Path) -> list[Row]:
    """The rows of a JSON file `[{"disease_class": 3, "image_id": "x.jpg"}, ...]`.

    FAULT: nothing is checked. A missing file, a name that is listed twice or a label out of
    range comes to light, if ever, hours later in the middle of the training.
    """
    rows: list[Row] = json.loads(Path(path).read_bytes())
    return rows


def read_image(path: str | Path, size: int) -> npt.NDArray[np.float32]:
    """One image, float32 (size, size, 3), BGR, 0..1.

    The bytes are read first and decoded then, because `cv2.imread` cannot open a path with
    Chinese letters on Windows. That part is right, and infeed does it too.

    Raises:
        cv2.error: the bytes are no whole image.
    """
    encoded = np.fromfile(path, dtype=np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    # FAULT: for a damaged file `image` is None here (or, with some releases of OpenCV, grey
    # in its lower half). Either cv2.resize stops the training with a message that names no
    # file, or the network learns that grey is a disease.
    # FAULT: blue comes first. Any network that was trained elsewhere expects red first.
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    # FAULT: two new arrays, the images at four times their size from here on, to the GPU too.
    scaled: npt.NDArray[np.float32] = image.astype(np.float32) / 255
    return scaled


def batch_of(rows: Sequence[Row], images: str | Path, *, size: int, classes: int) -> Batch:
    """The batch of exactly these rows, in their order."""
    # FAULT: one image after the other, while the processor's other cores and the GPU wait.
    pixels = [read_image(Path(images) / row["image_id"], size) for row in rows]
    labels = np.zeros((len(rows), classes), dtype=np.float32)
    labels[np.arange(len(rows)), [row["disease_class"] for row in rows]] = 1
    # FAULT: one more copy of everything.
    return np.stack(pixels), labels


def draw_rows(rows: Sequence[Row], count: int, random: np.random.Generator) -> list[Row]:
    """`count` rows at random, each time from all of them.

    FAULT: with replacement. After as many draws as there are images, 36.8 % of them have not
    been seen and 26 % more than once; a rare class may be missing for many epochs.
    """
    return [rows[place] for place in random.integers(len(rows), size=count)]


def generate(
    rows: Sequence[Row],
    images: str | Path,
    *,
    size: int,
    classes: int,
    batch_size: int,
    random: np.random.Generator | None = None,
) -> Iterator[Batch]:
    """Random batches for ever.

    Args:
        rows: as `read_annotations` gives them.
        images: the folder that their names are relative to.
        random: where the draws come from. By default (FAULT) from a new state in every run,
            so that no run can be repeated.

    FAULT: an endless stream has no length and no place. The steps of an epoch have to be
    counted by hand, a stopped training cannot go on where it was, and as validation data it
    shows other images after every epoch, so that the epochs cannot be compared.
    """
    random = np.random.default_rng() if random is None else random
    while True:
        yield batch_of(draw_rows(rows, batch_size, random), images, size=size, classes=classes)
