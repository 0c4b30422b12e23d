"""What `bench` measures, and what it says when it cannot."""

from __future__ import annotations

import os
import struct
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
