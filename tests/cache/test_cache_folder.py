"""What lies in a cache folder: what is read of it, and what is removed."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.folder import clear

COUNT = 20


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Drawn pictures that were there long before the cache."""
    folder = tmp_path / "图"
    folder.mkdir()
    for number in range(COUNT):
        draw(folder / f"{number}.png", number)
    return folder


def draw(path: Path, grey: int) -> None:
    path.write_bytes(cv2.imencode(".png", np.full((9, 9, 3), grey, np.uint8))[1].tobytes())
    os.utime(path, (1e9, 1e9))


def filled(folder: Path, images: Path) -> Path:
    """The folder of the store that one epoch has filled."""
    loader = loader_of(folder, images)
    with loader.epoch(0) as batches:
        for _ in batches:
            pass
    assert loader.cache_counts.stored == COUNT
    loader.close()
    (store,) = (path for path in folder.iterdir() if path.is_dir())
    return store


def loader_of(folder: Path, images: Path) -> Loader:
    manifest = Manifest.from_folders(images, labelled=False)
    sampler = Sampler(batch_size=8)
    return Loader(manifest, Recipe(height=8, width=8), sampler, cache=Cache(folder, "raw"))


def test_a_pipe_among_the_segments_is_not_waited_for(tmp_path, images):
    folder = tmp_path / "cache"
    store = filled(folder, images)
    os.mkfifo(store / f"{0:032x}.seg")
    draw(images / "new.png", 200)
    loader = loader_of(folder, images)
    with loader.epoch(0) as batches:
        assert sum(map(len, batches)) == COUNT + 1
    assert (loader.cache_counts.hits, loader.cache_counts.stored) == (COUNT, 1)
    loader.close()


def test_clear_removes_everything_that_was_made_and_the_folder(tmp_path, images):
    folder = tmp_path / "cache"
    store = filled(folder, images)
    size = sum(path.stat().st_size for path in store.glob("*.seg"))
    cleared = clear(folder)
    assert (cleared.stores, cleared.bytes, cleared.left) == ((store.name,), size, ())
    assert not folder.exists()


def test_clear_leaves_what_others_have_put_there(tmp_path, images):
    folder = tmp_path / "cache"
    store = filled(folder, images)
    (store / "sets").mkdir(exist_ok=True)
    kept = [
        folder / "partial-results.csv",
        folder / "mine" / "store.json",
        folder / "mine" / f"{1:032x}.seg",
        store / "notes.seg",
        store / "partial-notes.txt",
        store / "sets" / "mine.json",
    ]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", "utf-8")
    (store / f"{2:032x}.seg").mkdir()
    (store / f"{3:032x}.seg").symlink_to(kept[0])
    cleared = clear(folder)
    assert cleared.stores == (store.name,)
    assert all(path.read_text("utf-8") == "mine" for path in kept)
    assert cleared.left == (
        *("mine", "partial-results.csv"),
        *(f"{store.name}/{name:032x}.seg" for name in (2, 3)),
        *(f"{store.name}/{name}" for name in ("notes.seg", "partial-notes.txt", "sets")),
    )


def test_clear_removes_what_writers_that_were_killed_have_left(tmp_path, images):
    folder = tmp_path / "cache"
    store = filled(folder, images)
    (store / "sets").mkdir(exist_ok=True)
    (folder / "partial-7-0123cdef-infeed-cache.json").write_text("{", "utf-8")
    (store / "partial-7-0123cdef-store.json").write_text("{", "utf-8")
    (store / "sets" / f"partial-7-0123cdef-{5:032x}.json").write_text("{", "utf-8")
    (store / f"{4:032x}.seg").write_bytes(b"")
    (store / "store.json").unlink()
    cleared = clear(folder)
    assert cleared.left == ()
    assert not folder.exists()
