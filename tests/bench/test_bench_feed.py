"""What `bench` measures, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, ManifestError, Recipe, Sampler, TooManyBadImagesError
from infeed.bench import bench, decoder_limit

PIXELS = np.full((24, 32, 3), 90, np.uint8)
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


def folder_of(tmp_path, files):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def loader_of(folder, *, names=None, **options):
    if names is None:
        manifest = Manifest.from_folders(folder, labelled=False)
    else:
        manifest = Manifest.from_rows(names, images=folder)
    return Loader(
        manifest, Recipe(height=8, width=8), Sampler(batch_size=4), **{"threads": 2} | options
    )


def test_every_epoch_delivers_every_image_and_is_measured(tmp_path):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(10)})
    told = []
    result = bench(loader_of(folder), epochs=2, report=lambda *values: told.append(values[:3]))
    assert [epoch.epoch for epoch in result.epochs] == [0, 1]
    assert [epoch.images for epoch in result.epochs] == [10, 10]
    assert told == [(epoch, step, 3) for epoch in (0, 1) for step in (1, 2, 3)]
    for epoch in result.epochs:
        assert epoch.images_per_second == pytest.approx(epoch.images / epoch.seconds)
        assert epoch.stages["read"] > 0
        assert epoch.stages["decode"] > 0
        assert epoch.source == "decoded"
    speeds = [epoch.images_per_second for epoch in result.epochs]
    assert result.ratio == pytest.approx(np.median(speeds) / result.limit_images_per_second)
    assert (result.threads, result.bad_images) == (2, 0)
    assert len(result.limit_runs) == 2
    assert result.limit_images_per_second == np.median(result.limit_runs)


def test_an_epoch_says_where_its_images_came_from_and_decoded_ones_make_the_ratio(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    files = {f"{number}.jpg": JPEG for number in range(10)} | {"bad.jpg": b"text"}
    folder_of(folder, files)
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    result = bench(loader_of(folder, cache=tmp_path / "cache"), epochs=3)
    # The bad image, which nothing can keep, does not make an epoch a decoded one.
    assert [epoch.source for epoch in result.epochs] == ["decoded", "cache", "cache"]
    speeds = [epoch.images_per_second for epoch in result.epochs]
    assert result.ratio == pytest.approx(speeds[0] / result.limit_images_per_second)
    assert result.cached_images_per_second == pytest.approx(np.median(speeds[1:]))
    (folder / "new.jpg").write_bytes(PNG)
    os.utime(folder / "new.jpg", (1e9, 1e9))
    loader = loader_of(folder, cache=tmp_path / "cache")
    result = bench(loader, epochs=2)
    assert [epoch.source for epoch in result.epochs] == ["both", "cache"]
    assert result.ratio is None
    loader.close()
    assert bench(loader_of(folder), epochs=1).cached_images_per_second is None


@pytest.mark.parametrize("cached", [False, True])
def test_thread_time_and_the_readers_time_are_whole(tmp_path, cached):
    folder = tmp_path / "images"
    folder.mkdir()
    folder_of(folder, {f"{number}.jpg": JPEG for number in range(50)})
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    cache = tmp_path / "cache" if cached else None
    for epoch in bench(loader_of(folder, cache=cache, threads=3), epochs=2).epochs:
        assert sum(epoch.stages.values()) == pytest.approx(3 * epoch.seconds)
        assert sum(epoch.reader.values()) == pytest.approx(epoch.seconds)
        assert min(epoch.stages.values()) >= 0
        assert min(epoch.reader.values()) >= 0
        stage = "from_cache" if epoch.source == "cache" else "decode"
        assert epoch.stages[stage] > 0


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_epochs_from_the_cache_are_measured_against_copies_alone(tmp_path, dtype):
    folder = tmp_path / "images"
    folder.mkdir()
    folder_of(folder, {f"{number}.jpg": JPEG for number in range(10)})
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    result = bench(loader_of(folder, cache=tmp_path / "cache", dtype=dtype), epochs=2)
    assert result.copy_images_per_second > 0
    assert result.cached_ratio == pytest.approx(
        result.cached_images_per_second / result.copy_images_per_second
    )
    plain = bench(loader_of(folder, dtype=dtype), epochs=1)
    assert (plain.copy_images_per_second, plain.cached_ratio) == (None, None)


def test_every_other_epoch_is_cold_and_neither_is_taken_for_the_other(tmp_path):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(10)})
    result = bench(loader_of(folder), epochs=3, cold=True)
    assert [epoch.is_cold for epoch in result.epochs] == [True, False, True]
    warm = result.epochs[1].images_per_second
    assert result.decoded_images_per_second == warm
    assert result.ratio == pytest.approx(warm / result.limit_images_per_second)
    cold = [
        epoch.images_per_second
        for epoch in (result.epochs[0], result.epochs[2])
        if (epoch.files_in_memory or 0) <= 0.05
    ]
    # On a file system that lives in memory there is none.
    assert result.cold_decoded_images_per_second == (np.median(cold) if cold else None)
    assert (result.cold_failure is None) <= bool(cold)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file system in memory")
def test_files_that_cannot_be_given_up_are_said_and_make_no_figure():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = folder_of(Path(folder), {f"{number}.jpg": JPEG for number in range(10)})
        result = bench(loader_of(path), epochs=2, cold=True)
    if result.epochs[0].files_in_memory is None:
        assert "cannot be told" in result.cold_failure
    else:
        assert "memory still held 100% of the files" in result.cold_failure
        assert result.cold_decoded_images_per_second is None
    assert result.decoded_images_per_second == result.epochs[1].images_per_second


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a file system in memory")
def test_epochs_from_a_cache_that_cannot_be_given_up_make_no_figure(tmp_path):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(10)})
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as cache:
        loader = loader_of(folder, cache=cache)
        result = bench(loader, epochs=3, cold=True)
        loader.close()
    last = result.epochs[2]
    assert (last.source, last.is_cold) == ("cache", True)
    if last.files_in_memory is None:
        assert "cannot be told" in result.cold_failure
    else:
        assert last.files_in_memory == 1
        assert result.cold_cached_images_per_second is None


def test_whoever_is_told_may_stop_it(tmp_path):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(4)})
    told = []

    def stop(doing):
        told.append(doing)
        if doing.startswith("Measuring"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(loader_of(folder), epochs=1, tell=stop)
    assert told == ["Looking at the images"] * 5 + ["Measuring the decoder alone"]


def test_a_result_names_settings_set_and_machine(tmp_path):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(4)})
    loader = loader_of(folder)
    result = bench(loader, epochs=1)
    assert result.settings["batch_size"] == 4
    assert result.settings["recipe"]["height"] == 8
    assert result.settings["cache"] is None
    assert (result.set["records"], result.set["bytes_per_image"]) == (4, len(JPEG))
    assert result.machine.cores >= 1
    assert result.machine.versions["numpy"] == np.__version__
    json.dumps(dataclasses.asdict(result))


def test_a_set_is_the_same_with_labels_and_without(tmp_path):
    names = ["a.jpg", "b.jpg"]
    folder = folder_of(tmp_path, dict.fromkeys(names, JPEG))

    def set_of(manifest):
        return bench(Loader(manifest, Recipe(height=8, width=8), Sampler()), epochs=1).set

    plain = set_of(Manifest.from_rows(names, images=folder))
    assert set_of(Manifest.from_rows(names, [0, 1], images=folder)) == plain
    assert set_of(Manifest.from_rows(names[::-1], images=folder)) != plain


@pytest.mark.parametrize("count", [1, 2, 6])
def test_sets_of_any_few_images_are_measured(tmp_path, count):
    folder = folder_of(tmp_path, {f"{number}.jpg": JPEG for number in range(count)})
    assert bench(loader_of(folder, threads=1), epochs=1).epochs[0].images == count


def test_names_of_any_script_and_of_no_script_at_all_are_measured(tmp_path):
    names = ["苹果 叶片.jpg", "- 副本.JPG", "line\nbreak.png", os.fsdecode(b"latin-1 \xe4.jpg")]
    folder = folder_of(tmp_path, {name: PNG if ".png" in name else JPEG for name in names})
    result = bench(loader_of(folder), epochs=1)
    assert result.epochs[0].images == 4
    assert result.limit_images_per_second > 0


def test_a_bad_image_is_counted_and_left_out_of_the_limit(tmp_path):
    files = {f"{number}.jpg": JPEG for number in range(10)} | {"bad.jpg": b"text"}
    result = bench(loader_of(folder_of(tmp_path, files)), epochs=1)
    assert result.epochs[0].images == 11
    assert result.bad_images == 1


def test_images_that_are_all_bad_stop_it_with_the_reasons(tmp_path):
    files = {f"{number}.jpg": b"text" for number in range(5)}
    with pytest.raises(TooManyBadImagesError, match="not_an_image"):
        bench(loader_of(folder_of(tmp_path, files)), epochs=1)


def test_images_that_are_all_missing_stop_it_with_the_reasons(tmp_path):
    with pytest.raises(TooManyBadImagesError, match="missing"):
        bench(loader_of(tmp_path, names=["a.jpg", "b.jpg"]), epochs=1)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ManifestError):
        loader_of(tmp_path)


def test_codecs_that_warn_about_every_image_do_not_stop_it(tmp_path):
    # libpng writes some 100 bytes about each of these to standard error: more than a pipe holds.
    chunks = b"".join(_chunk(b"gAMA", struct.pack(">I", 0)) for _ in range(4))
    warned = PNG[:33] + chunks + PNG[33:]
    folder = folder_of(tmp_path, {f"{number}.png": warned for number in range(1000)})
    paths = [str(path) for path in Path(folder).iterdir()]
    assert decoder_limit(paths, height=8, width=8, processes=1) > 0


def test_a_process_that_fails_is_an_error_with_what_it_said(tmp_path):
    folder = folder_of(tmp_path, {"good.jpg": JPEG})
    paths = [str(folder / "good.jpg"), str(folder / "gone.jpg")]
    with pytest.raises(RuntimeError) as caught:
        decoder_limit(paths, height=8, width=8, processes=2)
    text = str(caught.value)
    assert text.startswith("A process that measures the decoder failed:\n")
    assert "FileNotFoundError" in text
    assert "gone.jpg" in text


def test_more_processes_than_images_are_not_started(tmp_path):
    folder = folder_of(tmp_path, {"one.jpg": JPEG})
    assert decoder_limit([str(folder / "one.jpg")], height=8, width=8, processes=16) > 0


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
