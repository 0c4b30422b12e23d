"""A store that does not fit into memory, or of which that is not known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from infeed import Cache, Manifest, Recipe
from infeed.cache import Encoding, checksum, decode_jpeg_into, encode_jpeg
from infeed.cache.counts import Counter, Counts
from infeed.cache.folder import StoreName, segment_paths
from infeed.cache.open_store import OpenStore
from infeed.read import LocalStorage
from infeed.sample import Scratch

COUNT = 90
LONG_AGO = 1_700_000_000
RECIPE = Recipe(height=16, width=24)

OpenIt = Callable[[Encoding, int | None], OpenStore]


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def open_store(tmp_path: Path, counter: Counter) -> OpenIt:
    """Opens the store of `COUNT` images, with so much memory."""
    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"{number}.png" for number in range(COUNT)]
    for number, name in enumerate(names):
        picture = np.full((4, 6, 3), number, np.uint8)
        (folder / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        os.utime(folder / name, (LONG_AGO, LONG_AGO))

    def make(encoding: Encoding, memory: int | None) -> OpenStore:
        return OpenStore(
            Cache(tmp_path / "cache"),
            StoreName.of(RECIPE, {"decoder": "1"}, encoding),
            recipe=RECIPE,
            manifest=Manifest.from_rows(names, images=folder),
            storage=LocalStorage(folder),
            counter=counter,
            say=lambda about, text: None,
            memory=memory,
        )

    return make


def no_read(position: int) -> None:
    """Images are known by their stamps here."""


def pictures(encoding: Encoding) -> tuple[np.ndarray, list[np.ndarray]]:
    """uint8 (COUNT, height, width, 3), each like no other, and the bytes that are kept of each."""
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (COUNT, *RECIPE.shape), np.uint8)
    if encoding == "raw":
        return images, [image.reshape(-1) for image in images]
    payloads = [np.frombuffer(encode_jpeg(image, RECIPE), np.uint8) for image in images]
    for payload, image in zip(payloads, images, strict=True):
        decode_jpeg_into(payload, RECIPE, image)
    return images, payloads


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("memory", [0, None, 1 << 50])
def test_images_come_back_as_they_were_kept_however_much_memory_there_is(
    open_store: OpenIt, encoding: Encoding, memory: int | None, counter: Counter
) -> None:
    images, payloads = pictures(encoding)
    rows, scratch = np.zeros_like(images), Scratch()
    first = open_store(encoding, memory)
    sources = first.load(range(COUNT), rows, scratch, no_read)
    first.keep(sources, payloads, list(map(checksum, payloads)))
    first.close()
    second = open_store(encoding, memory)
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    assert second.load(order, rows, scratch, no_read) == []
    np.testing.assert_array_equal(rows, images[order])
    assert counter.read() == Counts(hits=COUNT, misses=COUNT, stored=COUNT)
    second.close()


def test_a_file_cut_short_that_does_not_fit_into_memory_gives_what_it_still_has(
    open_store: OpenIt, counter: Counter
) -> None:
    images, payloads = pictures("raw")
    rows, scratch = np.zeros_like(images), Scratch()
    store = open_store("raw", 0)
    sources = store.load(range(COUNT), rows, scratch, no_read)
    store.keep(sources, payloads, list(map(checksum, payloads)))
    path = max(segment_paths(store.folder), key=lambda path: path.stat().st_size)
    os.truncate(path, path.stat().st_size - 3 * images[0].nbytes)
    missing = {source.position for source in store.load(range(COUNT), rows, scratch, no_read)}
    there = [position for position in range(COUNT) if position not in missing]
    assert missing
    assert there
    np.testing.assert_array_equal(rows[there], images[there])
    assert counter.read().damaged == len(missing)
    store.close()
