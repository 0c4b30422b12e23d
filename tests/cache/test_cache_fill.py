"""`fill_cache`: one pass, counted."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from infeed import (
    Cache,
    Loader,
    Manifest,
    MemoryStorage,
    Recipe,
    Sampler,
    Shard,
    TooManyBadImagesError,
)
from infeed.cache_fill import fill_cache

COUNT = 30


def picture(grey: int) -> bytes:
    data: bytes = cv2.imencode(".jpg", np.full((40, 30, 3), grey, np.uint8))[1].tobytes()
    return data


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Drawn pictures that were there long before the cache."""
    folder = tmp_path / "图"
    folder.mkdir()
    for number in range(COUNT):
        put(folder / f"{number:02}.jpg", picture(8 * number))
    return folder


def faulty_picture() -> bytes:
    data = picture(9)
    at = data.index(b"\xff\xdb")
    return data[:at] + b"junk" + data[at:]


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (1e9, 1e9))


def loader_of(
    images: Path, cache: Cache | None, sampling="sequential", bad="mask", order=(), **options
):
    sampler = Sampler(batch_size=8, sampling=sampling, **dict(order))
    recipe = Recipe(height=16, width=16)
    manifest = Manifest.from_folders(images, labelled=False)
    return Loader(manifest, recipe, sampler, cache=cache, on_bad_image=bad, **options)


def counts_of(result) -> tuple[int, ...]:
    counts = (result.stored, result.there, result.not_stored, result.recovered, result.bad)
    assert sum(counts) + result.not_seen == result.records
    return counts


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_all_is_stored_once_and_then_there(images, tmp_path, encoding):
    cache = Cache(tmp_path / "cache", encoding)
    told = []
    loader = loader_of(images, cache)
    result = fill_cache(loader, report=lambda *values: told.append(values[:2]))
    loader.close()
    assert counts_of(result) == (COUNT, 0, 0, 0, 0)
    assert told == [(8, COUNT), (16, COUNT), (24, COUNT), (COUNT, COUNT)]
    assert result.images_per_second == pytest.approx(COUNT / result.seconds)
    assert result.complaints == {}
    again = loader_of(images, cache)
    assert counts_of(fill_cache(again)) == (0, COUNT, 0, 0, 0)
    again.close()


def test_faulty_files_are_told_from_bad_ones(images, tmp_path):
    put(images / "bad.jpg", b"text")
    put(images / "faulty.jpg", faulty_picture())
    loader = loader_of(images, Cache(tmp_path / "cache"))
    assert counts_of(fill_cache(loader)) == (COUNT, 0, 0, 1, 1)
    loader.close()


def test_it_ends_when_no_more_is_stored(images, tmp_path):
    pixels = 16 * 16 * 3
    loader = loader_of(images, Cache(tmp_path / "cache", "raw", limit=8192 + 8 * (pixels + 48)))
    told = []
    result = fill_cache(loader, report=lambda done, *_: told.append(done))
    assert list(result.complaints) == ["limit"]
    stored, there, not_stored, *_ = counts_of(result)
    assert 0 < stored < COUNT
    assert (there, not_stored + result.not_seen) == (0, COUNT - stored)
    assert not_stored > 0
    loader.close()


def test_it_decodes_nothing_where_nothing_can_be_stored(images, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    loader = loader_of(images, Cache(tmp_path / "cache"))
    told = []
    result = fill_cache(loader, report=lambda done, *_: told.append(done))
    assert told == [8]
    assert counts_of(result)[:2] == (0, 0)
    assert result.not_stored + result.not_seen == COUNT
    assert list(result.complaints) == ["stop"]


def test_what_it_did_not_look_at_is_not_called_missing(images, tmp_path):
    first = loader_of(images, Cache(tmp_path / "cache", "raw"))
    fill_cache(first)
    first.close()
    put(images / "00.jpg", picture(200) + b"more")  # another file, and no room for it
    loader = loader_of(images, Cache(tmp_path / "cache", "raw", limit=1), depth=1)
    result = fill_cache(loader)
    loader.close()
    assert (result.not_stored, result.stored, result.bad) == (1, 0, 0)
    assert result.not_seen > 0
    assert result.there + result.not_seen == COUNT - 1


def test_faulty_files_are_all_counted_also_where_it_ends_early(tmp_path):
    faulty, good = faulty_picture(), picture(9)
    files = {f"{number:04}.jpg": faulty for number in range(1010)}
    files |= {f"{number:04}.jpg": good for number in range(1010, 1020)}
    loader = Loader(
        Manifest.from_rows(list(files)),
        Recipe(height=8, width=8),
        Sampler(batch_size=1011, sampling="sequential"),
        storage=MemoryStorage(files),
        cache=Cache(tmp_path / "cache", "raw", limit=1),
        on_bad_image="mask",
    )
    result = fill_cache(loader)
    loader.close()
    assert list(result.complaints) == ["limit"]
    assert counts_of(result)[3] == 1010


def test_too_many_bad_images_end_it(images, tmp_path):
    put(images / "bad.jpg", b"text")
    loader = loader_of(images, Cache(tmp_path / "cache"), max_bad=0)
    with pytest.raises(TooManyBadImagesError):
        fill_cache(loader)
    loader.close()


def test_a_loader_that_is_not_for_it_is_refused(images, tmp_path):
    cache = Cache(tmp_path / "cache")
    with pytest.raises(ValueError, match="needs a loader with cache=, got one without"):
        fill_cache(loader_of(images, None))
    with pytest.raises(ValueError, match="got 'shuffle' and 'mask'"):
        fill_cache(loader_of(images, cache, sampling="shuffle"))
    with pytest.raises(ValueError, match="got 'sequential' and 'replace'"):
        fill_cache(loader_of(images, cache, bad="replace"))


@pytest.mark.parametrize(
    "order", [{"remainder": "pad"}, {"remainder": "drop"}, {"shard": Shard(0, 2)}]
)
def test_an_order_in_which_not_each_image_comes_once_is_refused(images, tmp_path, order):
    loader = loader_of(images, Cache(tmp_path / "cache"), order=order)
    with pytest.raises(ValueError, match="needs remainder='keep' and no shard, got '"):
        fill_cache(loader)


def test_images_in_memory_are_kept_by_their_content(tmp_path):
    storage = MemoryStorage({f"{number}.jpg": picture(number) for number in range(5)})
    manifest = Manifest.from_rows([f"{number}.jpg" for number in range(5)])
    sampler, recipe = Sampler(batch_size=2, sampling="sequential"), Recipe(height=16, width=16)
    options = {"storage": storage, "cache": tmp_path / "cache", "on_bad_image": "mask"}
    loader = Loader(manifest, recipe, sampler, **options)
    assert counts_of(fill_cache(loader)) == (5, 0, 0, 0, 0)
    loader.close()
