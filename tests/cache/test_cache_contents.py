"""`contents`: what is in a cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.contents import contents
from infeed.cache.folder import segment_paths
from infeed.cache.format import ENTRY_BYTES, HEADER_BYTES, FormatError
from infeed.cache.segment import Segment

COUNT = 30
SIDE = 64
PIXELS = SIDE * SIDE * 3


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Drawn pictures that were there long before the cache."""
    folder = tmp_path / "图"
    folder.mkdir()
    for number in range(COUNT):
        path = folder / f"{number}.png"
        path.write_bytes(cv2.imencode(".png", np.full((9, 9, 3), number, np.uint8))[1].tobytes())
        os.utime(path, (1e9, 1e9))
    return folder


def fill(folder: Path, images: Path, encoding="raw", batches=None) -> None:
    recipe, sampler = Recipe(height=SIDE, width=SIDE), Sampler(batch_size=10)
    manifest = Manifest.from_folders(images, labelled=False)
    loader = Loader(manifest, recipe, sampler, cache=Cache(folder, encoding))
    for number in range(batches or 3):
        loader.batch(0, number)
    loader.close()


def test_every_store_tells_its_recipe_images_and_files(tmp_path, images):
    folder = tmp_path / "cache"
    for encoding in ("raw", "jpeg"):
        fill(folder, images, encoding)
    jpeg, raw = contents(folder)
    for store, encoding in ((jpeg, "jpeg"), (raw, "raw")):
        files = segment_paths(folder / store.store)
        assert store.encoding == encoding
        assert store.recipe == Recipe(height=SIDE, width=SIDE).to_json()
        assert (store.images, store.segments) == (COUNT, len(files))
        assert store.bytes == sum(path.stat().st_size for path in files)
        assert store.is_current
        assert store.unreadable == ()
        assert [use.records for use in store.sets] == [COUNT]


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_free_space_is_what_the_files_take_before_another_is_made(tmp_path, images, encoding):
    folder = tmp_path / "cache"
    fill(folder, images, encoding, batches=1)
    (before,) = contents(folder)
    assert before.free_bytes > 0
    fill(folder, images, encoding)
    (after,) = contents(folder)
    assert after.images == COUNT
    if encoding == "raw":
        assert before.free_bytes - after.free_bytes == (COUNT - 10) * PIXELS
    else:
        assert before.free_bytes > after.free_bytes


def test_an_entry_that_is_damaged_is_no_image(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    (path,) = segment_paths(folder / contents(folder)[0].store)
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + ENTRY_BYTES)
        file.write(b"other")
    assert contents(folder)[0].images == COUNT - 1


def test_looking_changes_nothing(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    contents(folder)
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


def test_files_that_are_no_segments_are_named(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    store = folder / contents(folder)[0].store
    newer = bytearray(segment_paths(store)[0].read_bytes())
    newer[8] = 99
    (store / "dead.seg").touch()
    (store / "folder.seg").mkdir()
    os.mkfifo(store / "pipe.seg")
    (store / "newer.seg").write_bytes(newer)
    assert contents(folder)[0].unreadable == ("dead.seg", "folder.seg", "newer.seg", "pipe.seg")
    assert contents(folder)[0].images == COUNT


def test_what_a_damaged_description_does_not_tell_a_segment_does(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    (good,) = contents(folder)
    for text in ("", "[]", "{", "[" * 100_000):
        (folder / good.store / "store.json").write_text(text, "utf-8")
        assert contents(folder) == [good]
    (folder / good.store / "store.json").write_text('{"recipe": 3, "decoder": []}', "utf-8")
    (odd,) = contents(folder)
    assert (odd.recipe, odd.decoder, odd.is_current, odd.images) == ({}, {}, False, COUNT)


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no cache of infeed"):
        contents(tmp_path)
    (tmp_path / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    with pytest.raises(FormatError, match="format version 99"):
        contents(tmp_path)


def test_a_segment_that_was_opened_may_be_removed(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    (path,) = segment_paths(folder / contents(folder)[0].store)
    segment = Segment.open(path)
    path.unlink()
    assert int((segment.table()["length"] > 0).sum()) == COUNT
    assert contents(folder)[0].images == 0
    segment.close()
