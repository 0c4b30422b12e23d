"""`check`: every checksum, and the repair of what is wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.check import StoreReport, check
from infeed.cache.folder import segment_paths
from infeed.cache.format import ENTRY_BYTES, ENTRY_TYPE, HEADER_BYTES, FormatError, pack_entry
from infeed.cache.lock import try_lock
from infeed.cache.segment import Segment, erase_row

COUNT = 100  # in two segments at least


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that was there long before the cache."""
    folder = tmp_path_factory.mktemp("图")
    noise = np.random.default_rng(3).integers(0, 256, (COUNT, 9, 9, 3), np.uint8)
    for number, image in enumerate(noise):
        path = folder / f"{number}.png"
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        os.utime(path, (1e9, 1e9))
    return folder


def loader_of(folder: Path, images: Path, encoding="raw", **form) -> Loader:
    manifest = Manifest.from_folders(images, labelled=False)
    recipe = Recipe(**{"height": 8, "width": 8} | form)
    return Loader(manifest, recipe, Sampler(batch_size=8), cache=Cache(folder, encoding))


def read_epoch(loader: Loader) -> list[np.ndarray]:
    with loader.epoch(0) as batches:
        return [batch.images.copy() for batch in batches]


def fill(folder: Path, images: Path, encoding="raw", **form) -> list[np.ndarray]:
    loader = loader_of(folder, images, encoding, **form)
    seen = read_epoch(loader)
    loader.close()
    return seen


@pytest.fixture(params=["raw", "jpeg"])
def encoding(request):
    return request.param


@pytest.fixture
def cache(tmp_path, images, encoding):
    fill(tmp_path / "cache", images, encoding)
    return tmp_path / "cache"


def segments_of(cache: Path) -> list[Path]:
    return [path for store in cache.iterdir() if store.is_dir() for path in segment_paths(store)]


def only(reports: list[StoreReport]) -> StoreReport:
    (report,) = reports
    return report


def flip(path: Path, at: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def table_of(path: Path) -> np.ndarray:
    segment = Segment.open(path)
    table = segment.table()
    segment.close()
    return table


def test_a_cache_that_is_right_is_counted(cache):
    paths = segments_of(cache)
    lengths = [int(table_of(path)["length"].sum()) for path in paths]
    report = only(check(cache))
    assert (report.images, report.segments, report.bytes) == (COUNT, len(paths), sum(lengths))
    assert (report.damaged, report.repaired, report.files) == (0, 0, [])
    assert report.is_right


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 2**32 - 1),
    byte=st.integers(0, 2**32 - 1),
    bit=st.integers(0, 7),
    is_entry=st.booleans(),
)
def test_every_bit_that_flips_in_an_image_or_an_entry_is_found_and_repaired(
    cache, images, encoding, which, byte, bit, is_entry
):
    # Repaired by the last example, filled again by this one.
    fill(cache, images, encoding)
    # A segment whose only image was given back has none.
    paths = [path for path in segments_of(cache) if table_of(path)["length"].any()]
    path = paths[which % len(paths)]
    table = table_of(path)
    rows = np.flatnonzero(table["length"]).tolist()
    row = rows[which % len(rows)]
    if is_entry:
        at = HEADER_BYTES + row * ENTRY_BYTES + byte % ENTRY_BYTES
    else:
        at = int(table[row]["offset"]) + byte % int(table[row]["length"])
    flip(path, at, bit)
    report = only(check(cache, repair=False))
    assert (report.images, report.damaged, report.repaired) == (COUNT - 1, 1, 0)
    assert not report.is_right
    report = only(check(cache))
    assert (report.images, report.damaged, report.repaired) == (COUNT - 1, 1, 1)
    report = only(check(cache))
    assert (report.images, report.damaged, report.is_right) == (COUNT - 1, 0, True)


def test_what_was_repaired_is_stored_again_and_right(tmp_path, images, encoding):
    seen = fill(tmp_path / "cache", images, encoding)
    paths = segments_of(tmp_path / "cache")
    for path in paths:
        flip(path, int(table_of(path)[0]["offset"]))
    assert only(check(tmp_path / "cache")).repaired == len(paths)
    loader = loader_of(tmp_path / "cache", images, encoding)
    again = read_epoch(loader)
    assert all(map(np.array_equal, again, seen))
    counts = loader.cache_counts
    assert (counts.hits, counts.stored, counts.damaged) == (COUNT - len(paths), len(paths), 0)
    loader.close()
    assert only(check(tmp_path / "cache")).images == COUNT


def test_images_larger_than_a_block_are_read_in_parts(tmp_path, images):
    manifest = Manifest.from_rows(["0.png", "1.png"], images=images)
    recipe = Recipe(height=1300, width=1200)
    loader = Loader(manifest, recipe, Sampler(batch_size=2), cache=Cache(tmp_path / "cache", "raw"))
    loader.batch(0, 0)
    loader.close()
    assert only(check(tmp_path / "cache")).bytes == 2 * 1300 * 1200 * 3
    (path,) = segments_of(tmp_path / "cache")
    flip(path, int(table_of(path)[1]["offset"]) + 1300 * 1200 * 3 - 1)
    report = only(check(tmp_path / "cache"))
    assert (report.images, report.damaged, report.repaired) == (1, 1, 1)


def test_memory_stays_small(tmp_path, images):
    fill(tmp_path / "cache", images, height=256, width=256)  # 19.7 MB
    check(tmp_path / "cache")
    tracemalloc.start()
    check(tmp_path / "cache")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6


def test_a_file_that_was_cut_short_loses_what_is_gone_and_no_more(cache, images, encoding):
    path = max(segments_of(cache), key=lambda path: path.stat().st_size)
    table = table_of(path)
    last = int(table["offset"].argmax())
    os.truncate(path, int(table[last]["offset"]) + int(table[last]["length"]) - 1)
    report = only(check(cache, repair=False))
    assert (report.images, report.damaged) == (COUNT - 1, 1)
    (file,) = report.files
    assert (file.name, file.problem, file.is_repaired) == (path.name, "truncated", False)
    assert only(check(cache)).files[0].is_repaired
    assert only(check(cache)).is_right


def test_a_table_that_was_cut_gets_its_length_back(cache, images, encoding):
    path = segments_of(cache)[0]
    kept = int((table_of(path)["length"] > 0).sum())
    os.truncate(path, HEADER_BYTES + 1)
    report = only(check(cache))
    assert report.images == COUNT - kept
    assert [(file.problem, file.is_repaired) for file in report.files] == [("truncated", True)]
    assert only(check(cache)).is_right
    fill(cache, images, encoding)
    report = only(check(cache))
    assert (report.images, report.is_right) == (COUNT, True)


def test_a_file_that_died_at_birth_is_removed(cache):
    (store,) = {path.parent for path in segments_of(cache)}
    for number, data in enumerate((b"", b"infeed", bytes(1 << 16))):
        (store / f"{number:032x}.seg").write_bytes(data)
    report = only(check(cache, repair=False))
    assert [(file.problem, file.is_repaired) for file in report.files] == 3 * [
        ("no_segment", False)
    ]
    assert not report.is_right
    report = only(check(cache))
    assert [file.is_repaired for file in report.files] == [True] * 3
    report = only(check(cache))
    assert (report.images, report.files, report.is_right) == (COUNT, [], True)


def test_a_file_that_is_being_made_is_left_alone(cache):
    (store,) = {path.parent for path in segments_of(cache)}
    path = store / f"{1:032x}.seg"
    with path.open("wb") as file:
        assert try_lock(file.fileno())
        report = only(check(cache))
    assert (report.files, report.is_right) == ([], True)
    assert path.exists()


def test_nothing_is_removed_while_the_folder_is_locked(cache):
    (store,) = {path.parent for path in segments_of(cache)}
    path = store / f"{1:032x}.seg"
    path.touch()
    with (cache / "lock").open("wb") as lock:
        assert try_lock(lock.fileno())
        # Somebody may be making it.
        assert only(check(cache)).files == []
        os.utime(path, (1e9, 1e9))
        report = only(check(cache))
    assert [(file.problem, file.is_repaired) for file in report.files] == [("no_segment", False)]
    assert path.exists()


def test_a_later_version_and_what_is_not_ours_are_named_and_left(cache):
    (store,) = {path.parent for path in segments_of(cache)}
    newer = store / f"{1:032x}.seg"
    newer.write_bytes(b"infeedsg" + (99).to_bytes(4, "little") + bytes(5000))
    (store / "notes.seg").write_text("mine", "utf-8")
    os.mkfifo(store / f"{2:032x}.seg")
    (store / f"{3:032x}.seg").mkdir()
    (store / f"{4:032x}.seg").symlink_to(newer)
    report = only(check(cache))
    problems = {file.name: (file.problem, file.is_repaired) for file in report.files}
    assert problems.pop(newer.name) == ("newer", False)
    assert set(problems) == {"notes.seg", *(f"{number:032x}.seg" for number in (2, 3, 4))}
    assert set(problems.values()) == {("foreign", False)}
    assert report.is_right
    assert {path.name for path in store.iterdir()} >= {newer.name, *problems}


def test_a_segment_of_another_store_is_named_and_left(tmp_path, images):
    folder = tmp_path / "cache"
    fill(folder, images)
    fill(folder, images, fit="pad")
    one, other = sorted(path for path in folder.iterdir() if path.is_dir())
    path = segment_paths(one)[0]
    path.rename(other / path.name)
    reports = {report.store: report for report in check(folder)}
    (file,) = reports[other.name].files
    assert (file.name, file.problem) == (path.name, "foreign")
    assert "another recipe" in file.text
    assert reports[other.name].images == COUNT
    assert all(report.is_right for report in reports.values())


def test_every_store_has_a_report_and_progress_goes_to_the_end(tmp_path, images):
    folder = tmp_path / "cache"
    for encoding in ("raw", "jpeg"):
        fill(folder, images, encoding)
    told = []
    reports = check(folder, report=lambda *values: told.append(values))
    assert [(report.images, report.is_right) for report in reports] == 2 * [(COUNT, True)]
    total = sum(path.stat().st_size for path in segments_of(folder))
    assert {each[2] for each in told} == {total}
    done = [each[1] for each in told]
    assert done == sorted(done)
    assert done[-1] == total
    assert [name for name, *_ in told] == sorted(name for name, *_ in told)


def test_an_empty_cache_has_nothing_to_report(tmp_path, images):
    fill(tmp_path / "cache", images)
    for path in segments_of(tmp_path / "cache"):
        path.unlink()
    report = only(check(tmp_path / "cache"))
    assert (report.images, report.segments, report.is_right) == (0, 0, True)


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no cache of infeed: it has no infeed-cache\.json"):
        check(tmp_path)
    (tmp_path / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    with pytest.raises(FormatError, match="format version 99"):
        check(tmp_path)


def test_entries_that_change_while_they_are_looked_at_are_no_damage(tmp_path, images):
    # Larger than what is read at once, so that the second is read after the first was told of.
    manifest = Manifest.from_rows(["0.png", "1.png"], images=images)
    recipe = Recipe(height=1300, width=1200)
    loader = Loader(manifest, recipe, Sampler(batch_size=2), cache=Cache(tmp_path / "cache", "raw"))
    loader.batch(0, 0)
    loader.close()
    (path,) = segments_of(tmp_path / "cache")
    table = table_of(path)
    told = []

    def give_back(*values) -> None:
        # As a reader does that has met damage: the entry goes, and later the image.
        told.append(values)
        if len(told) == 2:
            flip(path, int(table[1]["offset"]))
            with path.open("r+b") as file:
                file.seek(HEADER_BYTES + ENTRY_BYTES)
                file.write(bytes(ENTRY_BYTES))

    report = only(check(tmp_path / "cache", report=give_back))
    assert (report.images, report.damaged, report.is_right) == (1, 0, True)


def test_a_row_that_is_another_by_now_is_not_given_back(cache):
    path = segments_of(cache)[0]
    segment = Segment.open(path)
    before = segment.row(0)
    assert not erase_row(segment, 0, bytes([before[0] ^ 1]) + before[1:])
    assert segment.row(0) == before
    assert erase_row(segment, 0, before)
    assert segment.row(0) == bytes(ENTRY_BYTES)
    segment.close()


def test_it_is_safe_while_other_processes_fill_the_cache(tmp_path, images):
    """Whatever moment it looks at, what it calls damaged would be lost: there is none."""
    program = (
        "import sys; from infeed import *\n"
        "manifest = Manifest.from_folders(sys.argv[1], labelled=False)\n"
        "for size in range(8, 20):\n"
        "    recipe = Recipe(height=size, width=8)\n"
        "    cache = Cache(sys.argv[2], 'jpeg')\n"
        "    loader = Loader(manifest, recipe, Sampler(batch_size=8), cache=cache)\n"
        "    with loader.epoch(0) as batches:\n"
        "        for batch in batches: pass\n"
        "    loader.close()\n"
    )
    folder = tmp_path / "cache"
    fill(folder, images)
    fillers = [subprocess.Popen([sys.executable, "-c", program, images, folder]) for _ in range(2)]
    looks = 0
    while any(filler.poll() is None for filler in fillers):
        assert all(report.is_right for report in check(folder))
        looks += 1
    assert [filler.returncode for filler in fillers] == [0, 0]
    assert looks > 1
    # Not all: who finds the folder locked just then stores nothing.
    assert sum(report.images for report in check(folder)) > COUNT


@contextlib.contextmanager
def without_roots_rights():
    """Root may write everything: takes the rights of an ordinary user meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_cannot_be_written_is_read(images, encoding):
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        fill(cache, images, encoding)
        path, unreadable = segments_of(cache)[:2]
        lost = int((table_of(unreadable)["length"] > 0).sum())
        flip(path, int(table_of(path)[0]["offset"]))
        (path.parent / f"{1:032x}.seg").touch()
        os.utime(path.parent / f"{1:032x}.seg", (1e9, 1e9))
        Path(folder).chmod(0o755)
        everything = [*cache.rglob("*"), cache]
        for each in everything:
            each.chmod(0o555 if each.is_dir() else 0o444)
        unreadable.chmod(0)
        with without_roots_rights():
            report = only(check(cache))
        cache.chmod(0o755)
        path.parent.chmod(0o755)
    assert (report.images, report.damaged, report.repaired) == (COUNT - 1 - lost, 1, 0)
    problems = {file.name: (file.problem, file.is_repaired) for file in report.files}
    assert problems == {
        unreadable.name: ("unreadable", False),
        f"{1:032x}.seg": ("no_segment", False),
    }


def test_an_entry_that_points_anywhere_is_damage(cache):
    """Entries whose check is right, and that lead out of the file."""
    path = segments_of(cache)[0]
    segment = Segment.open(path)
    row = segment.table()[:1].copy()
    for offset in (2**62, 2**64 - 1, path.stat().st_size):
        row["offset"] = offset
        entry = pack_entry(
            row.tobytes()[:16],
            offset,
            int(row["length"][0]),
            int(row["checksum"][0]),
            segment.header.seed,
        )
        assert np.frombuffer(entry, ENTRY_TYPE)["offset"][0] == offset
        with path.open("r+b") as file:
            file.seek(HEADER_BYTES)
            file.write(entry)
        assert only(check(cache, repair=False)).damaged == 1
    segment.close()
