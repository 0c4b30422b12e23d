"""What a loader with a cache gives: the same as one without."""

from __future__ import annotations

import gc
import json
import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, LocalStorage, Manifest, MemoryStorage, Recipe, Sampler
from infeed.cache import Counts

COUNT, SIZE = 24, 16

MakeLoader = Callable[..., Loader]


def epoch_of(loader: Loader, epoch: int = 0) -> dict[int, np.ndarray]:
    """The image of each record, out of one epoch."""
    with loader.epoch(epoch) as batches:
        return {
            position: image.copy()
            for batch in batches
            for position, image in zip(batch.positions.tolist(), batch.images, strict=True)
        }


def assert_same(given: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert given.keys() == expected.keys()
    for position, image in expected.items():
        np.testing.assert_array_equal(given[position], image)


def segments(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.seg"))


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_later_epochs_come_from_the_cache_and_are_the_same(
    make_loader: MakeLoader, tmp_path: Path
) -> None:
    plain, kept = make_loader(), make_loader(tmp_path / "cache")
    for epoch in range(3):
        assert_same(epoch_of(kept, epoch), epoch_of(plain, epoch))
    assert kept.cache_counts == Counts(hits=2 * COUNT, misses=COUNT, stored=COUNT)
    assert kept.meter.read().seconds["from_cache"] > 0


@pytest.mark.parametrize(
    ("encoding", "augment", "parts"),
    [("raw", None, 1), ("raw", lambda image, word: None, 2), ("jpeg", None, 2)],
)
def test_slices_of_a_batch_are_larger_where_they_are_copied_and_no_more(
    make_loader: MakeLoader, tmp_path: Path, encoding: Any, augment: Any, parts: int
) -> None:
    cache = Cache(tmp_path / "cache", encoding=encoding)
    loader = make_loader(cache, batch_size=16, augment=augment)
    assert loader.tasks() == 2 * loader.depth
    epoch_of(loader)
    assert loader.tasks() == parts * loader.depth


def test_what_one_process_has_stored_the_next_one_finds(
    make_loader: MakeLoader, tmp_path: Path
) -> None:
    first = make_loader(tmp_path / "cache")
    expected = epoch_of(first)
    first.close()
    second = make_loader(tmp_path / "cache")
    assert_same(epoch_of(second), expected)
    assert second.cache_counts == Counts(hits=COUNT)


def test_a_partly_filled_cache_serves_what_it_has(make_loader: MakeLoader, tmp_path: Path) -> None:
    names = [f"{number:02} - 副本.jpg" for number in range(0, COUNT, 3)]
    epoch_of(make_loader(tmp_path / "cache", names))
    loader = make_loader(tmp_path / "cache")
    assert_same(epoch_of(loader), epoch_of(make_loader()))
    assert loader.cache_counts == Counts(hits=8, misses=16, stored=16)


def test_manifests_over_the_same_images_share_them_whatever_they_call_them(
    images: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    recipe, sampler = Recipe(SIZE, SIZE), Sampler(batch_size=8)
    names = sorted(path.name for path in images.iterdir())
    flat = Manifest.from_rows(names, images=images)
    epoch_of(Loader(flat, recipe, sampler, cache=cache))
    deep = Manifest.from_rows([f"images/{name}" for name in names], images=tmp_path)
    loader = Loader(deep, recipe, sampler, cache=cache)
    assert_same(epoch_of(loader), epoch_of(Loader(deep, recipe, sampler)))
    assert loader.cache_counts == Counts(hits=COUNT)


@pytest.mark.parametrize(
    "other",
    [
        Recipe(SIZE, SIZE, fit="crop"),
        Recipe(SIZE, SIZE, color_mode="bgr"),
        Recipe(SIZE, SIZE, color_mode="grayscale"),
        Recipe(SIZE, SIZE, color_mode="rgba"),
        Recipe(SIZE, SIZE, interpolation="area"),
        Recipe(SIZE, SIZE, decode="exact"),
        Recipe(SIZE, SIZE + 1),
    ],
    ids=str,
)
def test_recipes_never_mix(make_loader: MakeLoader, tmp_path: Path, other: Recipe) -> None:
    cache = Cache(tmp_path / "cache", encoding="raw")
    epoch_of(make_loader(cache))
    loader = make_loader(cache, recipe=other)
    for _ in range(2):
        assert_same(epoch_of(loader), epoch_of(make_loader(recipe=other)))
    assert loader.cache_counts == Counts(hits=COUNT, misses=COUNT, stored=COUNT)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_all_epochs_see_the_same_pixels(
    make_loader: MakeLoader, tmp_path: Path, encoding: Any, dtype: str
) -> None:
    scale = 1 / 255 if dtype == "float32" else None
    loader = make_loader(Cache(tmp_path / "cache", encoding=encoding), dtype=dtype, scale=scale)
    first = epoch_of(loader)
    assert_same(epoch_of(loader), first)
    loader.close()
    assert_same(epoch_of(loader), first)
    assert loader.cache_counts == Counts(hits=2 * COUNT, misses=COUNT, stored=COUNT)
    if encoding == "raw":
        assert_same(first, epoch_of(make_loader(dtype=dtype, scale=scale)))


def test_jpeg_pixels_do_not_depend_on_what_was_kept(
    make_loader: MakeLoader, tmp_path: Path
) -> None:
    kept = make_loader(Cache(tmp_path / "cache", encoding="jpeg"))
    # No room for anything: yet its images go through JPEG as well.
    never = make_loader(Cache(tmp_path / "none", encoding="jpeg", limit=1))
    plain = make_loader()
    for _ in range(2):
        assert_same(epoch_of(kept), epoch_of(never))
    assert never.cache_counts == Counts(misses=2 * COUNT, not_stored=2 * COUNT)
    difference = [
        np.abs(a.astype(int) - b).mean()
        for a, b in zip(epoch_of(kept).values(), epoch_of(plain).values(), strict=True)
    ]
    assert 0 < np.mean(difference) < 3


def test_a_loader_without_stamps_is_known_by_content(images: Path, tmp_path: Path) -> None:
    files = {f"{path.name} in memory": path.read_bytes() for path in images.iterdir()}
    manifest = Manifest.from_rows(sorted(files))
    for counts in (Counts(misses=COUNT, stored=COUNT), Counts(hits=COUNT)):
        loader = Loader(
            manifest,
            Recipe(SIZE, SIZE),
            Sampler(batch_size=8),
            storage=MemoryStorage(files),
            cache=tmp_path / "cache",
        )
        epoch_of(loader)
        assert loader.cache_counts == counts
        loader.close()


def test_content_is_found_under_other_names_and_times(
    make_loader: MakeLoader, images: Path, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache", identity="content")
    epoch_of(make_loader(cache))
    for number, path in enumerate(sorted(images.iterdir())):
        os.utime(path, (number, number))
        path.rename(path.with_name(f"moved-{path.name}"))
    loader = make_loader(cache)
    assert_same(epoch_of(loader), epoch_of(make_loader()))
    assert loader.cache_counts == Counts(hits=COUNT)


def test_changed_content_with_the_same_times_is_seen_by_content(
    make_loader: MakeLoader, images: Path, write: Callable[..., None], picture: Callable[..., bytes]
) -> None:
    cache = Cache(images.parent / "cache", identity="content")
    loader = make_loader(cache)
    before = epoch_of(loader)
    name = sorted(images.iterdir())[0]
    write(name, picture(99))
    after = epoch_of(loader)
    assert_same(after, epoch_of(make_loader()))
    assert not np.array_equal(after[0], before[0])


def test_an_image_modified_this_moment_is_not_kept_yet(
    make_loader: MakeLoader, images: Path, tmp_path: Path
) -> None:
    for path in images.iterdir():
        os.utime(path)
    loader = make_loader(tmp_path / "cache")
    epoch_of(loader)
    assert loader.cache_counts == Counts(misses=COUNT, not_stored=COUNT)
    assert not (tmp_path / "cache").exists()


def test_an_image_recovered_from_a_faulty_file_is_noted_in_every_run(
    make_loader: MakeLoader, images: Path, tmp_path: Path, write: Callable[..., None]
) -> None:
    name = sorted(images.iterdir())[5]
    data = name.read_bytes()
    write(name, data[:20] + b"stray bytes" + data[20:])  # between two tables
    for _ in range(2):
        loader = make_loader(tmp_path / "cache")
        epoch_of(loader)
        assert [bad.position for bad in loader.quarantine.recovered] == [5]
        loader.close()


def test_a_bad_image_is_replaced_alike_with_and_without_a_cache(
    make_loader: MakeLoader, images: Path, tmp_path: Path, write: Callable[..., None]
) -> None:
    write(sorted(images.iterdir())[7], b"no picture")
    plain, kept = make_loader(max_bad=1), make_loader(tmp_path / "cache", max_bad=1)
    for epoch in (0, 1):
        assert_same(epoch_of(kept, epoch), epoch_of(plain, epoch))
        assert kept.quarantine.bad == plain.quarantine.bad
    # The replacement's own row may be made at the same time.
    assert COUNT - 1 <= kept.cache_counts.stored <= COUNT


def test_a_limit_is_kept_and_said(
    make_loader: MakeLoader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = SIZE * SIZE * 3
    loader = make_loader(Cache(tmp_path / "cache", limit=8192 + 14 * image))
    for _ in range(3):
        assert_same(epoch_of(loader), epoch_of(make_loader()))
    counts = loader.cache_counts
    assert 8 <= counts.stored < COUNT
    assert counts.hits == 2 * counts.stored
    loader.close()
    assert sum(path.stat().st_size for path in segments(tmp_path / "cache")) <= 8192 + 14 * image
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "takes no more images: its segments have" in record.getMessage()
    assert "the limit is 18.9 kB" in record.getMessage()


def test_nothing_is_reserved_after_the_end(make_loader: MakeLoader, tmp_path: Path) -> None:
    loader = make_loader(tmp_path / "cache")
    epoch_of(loader)
    loader.close()
    image, entries = SIZE * SIZE * 3, 0
    for path in segments(tmp_path / "cache"):
        data = path.read_bytes()
        assert (len(data) - int.from_bytes(data[64:72], "little")) % image == 0
        entries += (len(data) - int.from_bytes(data[64:72], "little")) // image
    assert entries == COUNT


def test_the_collector_closes_a_forgotten_loader(make_loader: MakeLoader, tmp_path: Path) -> None:
    gc.collect()
    before = open_files()
    loader = make_loader(tmp_path / "cache")
    epoch_of(loader)
    assert open_files() > before
    del loader
    gc.collect()
    assert open_files() == before


def test_a_link_that_leads_out_of_the_folder_is_refused_though_it_is_kept(
    images: Path, tmp_path: Path, picture: Callable[..., bytes], write: Callable[..., None]
) -> None:
    write(tmp_path / "outside.jpg", picture(50))
    (images / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    manifest = Manifest.from_rows(["link.jpg"], images=images)
    recipe, sampler, cache = Recipe(SIZE, SIZE), Sampler(batch_size=1), tmp_path / "cache"
    trusting = Loader(
        manifest, recipe, sampler, storage=LocalStorage(images, outside=True), cache=cache
    )
    epoch_of(trusting)
    assert trusting.cache_counts.stored == 1
    strict = Loader(manifest, recipe, sampler, cache=cache, on_bad_image="mask", max_bad=1)
    assert not epoch_of(strict)[0].any()
    assert strict.quarantine.bad[0].reason == "outside"


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_second_reader_can_be_written_from_the_document(
    make_loader: MakeLoader, images: Path, tmp_path: Path, encoding: Any
) -> None:
    reader = runpy.run_path(str(Path(__file__).with_name("second_reader.py")))
    loader = make_loader(Cache(tmp_path / "cache", encoding=encoding))
    expected = epoch_of(loader)
    loader.close()
    keys = {}
    for position, path in enumerate(sorted(images.iterdir())):
        stat = path.stat()
        keys[reader["key_of_file"](os.fsencode(path), stat.st_size, stat.st_mtime_ns)] = position
    found = {keys[key]: image for _, key, image in reader["read_cache"](tmp_path / "cache")}
    if encoding == "raw":
        assert_same(found, expected)
    else:
        assert found.keys() == expected.keys()
        for position, image in expected.items():
            # OpenCV's decoder is another one.
            assert np.abs(found[position].astype(int) - image).max() <= 3


def test_the_cache_says_what_it_is(make_loader: MakeLoader, tmp_path: Path) -> None:
    loader = make_loader(tmp_path / "cache")
    epoch_of(loader)
    loader.close()
    marker = json.loads((tmp_path / "cache" / "infeed-cache.json").read_text("utf-8"))
    assert marker["format"] == 1
    (store,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert store.name.startswith("16x16-rgb-raw-")
    described = json.loads((store / "store.json").read_text("utf-8"))
    assert Recipe.from_json(described["recipe"]) == loader.recipe
    assert described["decoder"]["opencv"] == cv2.__version__


def test_another_encoding_is_another_run(make_loader: MakeLoader, tmp_path: Path) -> None:
    plain = make_loader().state_dict()
    raw = make_loader(Cache(tmp_path / "a", encoding="raw"))
    jpeg = make_loader(Cache(tmp_path / "b", encoding="jpeg"))
    raw.load_state_dict(plain)  # a raw cache changes nothing
    with pytest.raises(ValueError, match="reencoding: saved None, now 'jpeg'"):
        jpeg.load_state_dict(plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "webp"}, r"Cache.encoding must be one of \['auto', 'raw', 'jpeg'\]"),
        ({"identity": "name"}, r"Cache.identity must be one of \['stat', 'content'\]"),
        ({"limit": "20 parsecs"}, "cache_limit: a size is a number of bytes"),
        ({"limit": -1}, "cache_limit: a size is a number of bytes"),
        ({"limit": True}, "cache_limit: a size is a number of bytes"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Cache(tmp_path, **options)


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file: a cache is a folder"):
        Cache(tmp_path / "file")


def test_transparency_has_no_jpeg(make_loader: MakeLoader, tmp_path: Path) -> None:
    recipe = Recipe(SIZE, SIZE, color_mode="rgba")
    with pytest.raises(ValueError, match="JPEG has no channels for color_mode='rgba'"):
        make_loader(Cache(tmp_path / "cache", encoding="jpeg"), recipe=recipe)


def test_a_second_set_in_a_store_gets_segments_of_a_sensible_size(
    images: Path, tmp_path: Path, picture: Callable[..., bytes], write: Callable[..., None]
) -> None:
    # Once there were as many images as a set has, its segments held those of one task.
    for number in range(300):
        write(images / f"more-{number}.jpg", picture(number))
    names = sorted(path.name for path in images.iterdir())
    recipe, sampler, cache = Recipe(SIZE, SIZE), Sampler(batch_size=8), tmp_path / "cache"
    for part in (names[:200], names[200:]):
        before = len(segments(cache))
        loader = Loader(Manifest.from_rows(part, images=images), recipe, sampler, cache=cache)
        epoch_of(loader)
        assert loader.cache_counts.stored == len(part)
        loader.close()
        assert len(segments(cache)) - before <= 4


def test_a_store_leaves_files_to_others(make_loader: MakeLoader, tmp_path: Path) -> None:
    names = [f"{position:02} - 副本.jpg" for position in range(6)]
    for name in names:
        loader = make_loader(tmp_path / "cache", [name])
        epoch_of(loader)
        loader.close()
        (path,) = segments(tmp_path / "cache")
        path.rename(tmp_path / path.name)
    for path in tmp_path.glob("*.seg"):
        path.rename(next((tmp_path / "cache").glob("16x16*")) / path.name)
    program = f"""
import logging, resource
from infeed import Loader, Manifest, Recipe, Sampler
logging.basicConfig(format="%(message)s")
manifest = Manifest.from_rows({names!r}, images={str(tmp_path / "images")!r})
loader = Loader(manifest, Recipe({SIZE}, {SIZE}), Sampler(), cache={str(tmp_path / "cache")!r})
loader.batch(0, 0)
loader.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
print(len(loader._stages.store))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "4\n"
    assert "is left out of the cache: there are too many of them" in done.stderr


def test_a_file_of_a_time_that_64_bits_do_not_hold_is_had_and_not_kept(
    make_loader: MakeLoader, images: Path, tmp_path: Path
) -> None:
    far = sorted(images.iterdir())[2]
    os.utime(far, ns=(0, 2**63 + 10**18))
    if far.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system has no such times")
    loader = make_loader(tmp_path / "cache")
    for _ in range(2):
        assert_same(epoch_of(loader), epoch_of(make_loader()))
    assert loader.cache_counts.stored == COUNT - 1


def test_a_byte_that_is_missing_costs_one_image(make_loader: MakeLoader, tmp_path: Path) -> None:
    sampler = Sampler(batch_size=COUNT, sampling="sequential")
    names = [f"{number:02} - 副本.jpg" for number in range(COUNT)]
    manifest = Manifest.from_rows(names, images=tmp_path / "images")
    filled = Loader(manifest, Recipe(SIZE, SIZE), sampler, cache=tmp_path / "cache", threads=1)
    expected = epoch_of(filled)
    filled.close()
    (path,) = segments(tmp_path / "cache")
    os.truncate(path, path.stat().st_size - 1)
    loader = Loader(manifest, Recipe(SIZE, SIZE), sampler, cache=tmp_path / "cache", threads=1)
    assert_same(epoch_of(loader), expected)
    assert loader.cache_counts == Counts(hits=COUNT - 1, misses=1, stored=1, damaged=1)


def test_a_store_that_is_closed_while_images_are_made_reserves_nothing(
    make_loader: MakeLoader, tmp_path: Path
) -> None:
    loader = make_loader(tmp_path / "cache")
    with loader.epoch(0) as batches:
        next(batches)
        store = loader._stages.store
        assert store is not None
        opened = store._open()
    loader.close()
    before = {path: path.stat().st_size for path in segments(tmp_path / "cache")}
    sources = [opened._sources.source(0, position, lambda _: None) for position in range(COUNT)]
    pixels = np.zeros(SIZE * SIZE * 3, np.uint8)
    opened.keep(sources, [pixels] * COUNT, [0] * COUNT)
    assert before == {path: path.stat().st_size for path in segments(tmp_path / "cache")}
