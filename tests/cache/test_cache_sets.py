"""Which sets have used a store: `sets/<fingerprint>.json`."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.counts import Counts
from infeed.cache.sets import SetUse, read_uses

COUNT = 20


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


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", "raw")


def loader_of(cache: Cache, images: Path, names: list[str] | None = None) -> Loader:
    manifest = Manifest.from_folders(images, labelled=False)
    if names is not None:
        manifest = Manifest.from_rows(names, images=images, source="表.json")
    return Loader(manifest, Recipe(height=8, width=8), Sampler(batch_size=8), cache=cache)


def read_epoch(loader: Loader) -> None:
    with loader.epoch(0) as batches:
        for _ in batches:
            pass


def run(cache: Cache, images: Path, *lines: str) -> None:
    """A process of its own in which a loader does something."""
    head = (
        "import os, sys; from infeed import *",
        "manifest = Manifest.from_folders(sys.argv[1], labelled=False)",
        "recipe, sampler = Recipe(height=8, width=8), Sampler(batch_size=8)",
        "loader = Loader(manifest, recipe, sampler, cache=Cache(sys.argv[2], 'raw'))",
    )
    program = "\n".join([*head, *lines])
    subprocess.run([sys.executable, "-c", program, images, cache.folder], check=True)


def store_in(cache: Cache) -> Path:
    (store,) = (path for path in cache.folder.iterdir() if path.is_dir())
    return store


def test_a_use_is_noted_when_the_loader_is_closed(cache, images):
    before = datetime.now(UTC).replace(microsecond=0)
    loader = loader_of(cache, images)
    read_epoch(loader)
    assert read_uses(store_in(cache)) == []
    loader.close()
    (use,) = read_uses(store_in(cache))
    assert use.fingerprint == loader.manifest.fingerprint()
    assert (use.source, use.records, use.uses) == (str(images), COUNT, 1)
    assert before <= datetime.fromisoformat(use.last_used) <= datetime.now(UTC)
    assert use.last == use.total == Counts(misses=COUNT, stored=COUNT)


def test_the_last_use_stands_beside_all_uses(cache, images):
    loader = loader_of(cache, images)
    for _ in range(3):
        read_epoch(loader)
        loader.close()
    (use,) = read_uses(store_in(cache))
    assert use.uses == 3
    assert use.last == Counts(hits=COUNT)
    assert use.total == Counts(hits=2 * COUNT, misses=COUNT, stored=COUNT)
    assert use.total.hit_rate == pytest.approx(2 / 3)


def test_closing_twice_counts_once(cache, images):
    loader = loader_of(cache, images)
    read_epoch(loader)
    loader.close()
    loader.close()
    assert read_uses(store_in(cache))[0].uses == 1


def test_a_loader_that_is_collected_has_noted_its_use(cache, images):
    loader = loader_of(cache, images)
    read_epoch(loader)
    del loader
    gc.collect()
    assert read_uses(store_in(cache))[0].total.stored == COUNT


def test_a_program_that_ends_has_noted_its_use(cache, images):
    run(cache, images, "loader.batch(0, 0)")
    assert read_uses(store_in(cache))[0].total == Counts(misses=8, stored=8)


def test_sets_that_share_images_are_told_apart_the_latest_first(cache, images):
    for names in (None, ["3.png", "4.png"]):
        loader = loader_of(cache, images, names)
        read_epoch(loader)
        loader.close()
    store = store_in(cache)
    uses = {use.source: use for use in read_uses(store)}
    assert uses["表.json"].total == Counts(hits=2)
    assert uses[str(images)].total == Counts(misses=COUNT, stored=COUNT)
    for fingerprint, day in ((f"{1:032x}", "2020-01-01"), (f"{2:032x}", "2099-01-01")):
        path = store / "sets" / f"{fingerprint}.json"
        text = (store / "sets" / f"{uses['表.json'].fingerprint}.json").read_text("utf-8")
        text = text.replace(uses["表.json"].fingerprint, fingerprint)
        path.write_text(text.replace(uses["表.json"].last_used, day), "utf-8")
    order = [use.last_used for use in read_uses(store)]
    assert (len(order), order[0], order[-1]) == (4, "2099-01-01", "2020-01-01")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"uses": 3}', '{"total": {"hits": "many"}}', "pipe", "folder"),
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_file_is_no_use_and_begins_anew(cache, images, text):
    loader = loader_of(cache, images)
    read_epoch(loader)
    loader.close()
    store = store_in(cache)
    (path,) = (store / "sets").iterdir()
    path.unlink()
    if text == "pipe":
        os.mkfifo(path)
    elif text == "folder":
        path.mkdir()
    else:
        path.write_text(text, "utf-8")
    assert read_uses(store) == []
    read_epoch(loader)
    loader.close()
    assert [use.uses for use in read_uses(store)] == ([] if text == "folder" else [1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("uses", "3"), ("source", 3), ("last_used", None), ("total", {"hits": "3"}), ("last", [])],
)
def test_a_value_of_the_wrong_kind_is_refused(name, value):
    good = {
        "fingerprint": f"{1:032x}",
        "source": "m.json",
        "records": 3,
        "uses": 1,
        "last_used": "2026-01-01T00:00:00+00:00",
        "last": {"hits": 1},
        "total": {"hits": 1},
    }
    assert SetUse.from_json(good).total == Counts(hits=1)
    with pytest.raises((KeyError, TypeError, ValueError)):
        SetUse.from_json(good | {name: value})


def test_a_folder_that_takes_no_notes_does_no_harm(cache, images):
    loader = loader_of(cache, images)
    read_epoch(loader)
    (store_in(cache) / "sets").write_text("in the way", "utf-8")
    loader.close()
    assert read_uses(store_in(cache)) == []


def test_a_store_that_was_cleared_meanwhile_is_not_made_again(cache, images):
    loader = loader_of(cache, images)
    read_epoch(loader)
    store = store_in(cache)
    (store / "store.json").unlink()
    loader.close()
    assert not (store / "sets").exists()


def test_a_forked_process_notes_nothing_of_its_parents(cache, images):
    run(
        *(cache, images, "loader.batch(0, 0)"),
        "child = os.fork()",
        "if not child:",
        "    assert len(loader.batch(0, 0)) == 8",
        "    loader.close()",
        "    os._exit(0)",
        "assert os.waitpid(child, 0)[1] == 0",
    )
    (use,) = read_uses(store_in(cache))
    assert (use.uses, use.total) == (2, Counts(hits=8, misses=8, stored=8))


def test_a_forked_process_that_only_closes_notes_nothing(cache, images):
    run(
        *(cache, images, "loader.batch(0, 0)"),
        "child = os.fork()",
        "if not child:",
        "    loader.close()",
        "    os._exit(0)",
        "assert os.waitpid(child, 0)[1] == 0",
    )
    (use,) = read_uses(store_in(cache))
    assert (use.uses, use.total) == (1, Counts(misses=8, stored=8))


def test_a_limit_and_other_reasons_to_store_no_more_are_told_apart(tmp_path, images):
    full = loader_of(Cache(tmp_path / "full", "raw", limit=1000), images)
    read_epoch(full)
    assert list(full.cache_complaints) == ["limit"]
    assert "the limit is 1.0 kB" in full.cache_complaints["limit"]
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    newer = loader_of(Cache(tmp_path / "newer", "raw"), images)
    read_epoch(newer)
    assert list(newer.cache_complaints) == ["stop"]
    assert "format version 99" in newer.cache_complaints["stop"]
