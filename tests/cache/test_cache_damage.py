"""Whatever is done to the files of a cache, an image comes out of it right or not at all.

What the tests do, in `make test` less often than in `make torture`:

- single bits of segments flipped, found in a header, an entry or an image and harmless elsewhere;
  before a loader opens the cache, and while one has it open;
- segments cut off, removed, overwritten, replaced, also by those of other stores; the whole
  folder removed or replaced; all this while a stream of batches is open;
- marker, description and segments damaged, or of a later format.

Every row of every batch is checked, no thing is said twice, and in the end a loader of its own
fills the cache again and then decodes nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.format import ENTRY_BYTES, HEADER_BYTES
from infeed.cache.segment import Segment

Job = Any  # `fill_program.Job`
MakeJob = Callable[..., tuple[Job, list[int]]]


@pytest.fixture
def filled(program: ModuleType, many_images: Callable[[int], Path], tmp_path: Path) -> MakeJob:
    """A cache that holds so many images, and the checksums of these."""

    def make(count: int, **form: Any) -> tuple[Job, list[int]]:
        job = program.Job(many_images(count), tmp_path / "cache", **form)
        right = job.right()
        assert program.run(job, right).is_complete
        return job, right

    return make


def segments_of(job: Job) -> list[Path]:
    return sorted(job.cache.glob("*/*.seg"))


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def part_of(path: Path, at: int) -> str:
    """What the byte at this place of a segment belongs to."""
    segment = Segment.open(path)
    table, header = segment.table(), segment.header
    segment.close()
    row = (at - HEADER_BYTES) // ENTRY_BYTES
    if at < HEADER_BYTES:
        return "header"
    if row < header.entries:
        return "entry" if table["length"][row] else "nothing"
    inside = (table["offset"] <= at) & (at < table["offset"] + table["length"])
    return "image" if inside.any() else "nothing"


def flip_bits(program: ModuleType, job: Job, right: list[int], flips: int) -> Counter[str]:
    """Flips so many bits, one at a time; gives how many of them were in each part."""
    path = max(segments_of(job), key=lambda path: path.stat().st_size)
    whole = {each: each.read_bytes() for each in segments_of(job)}
    rng = np.random.default_rng(flips)
    segment = Segment.open(path)
    images = int((segment.table()["length"] > 0).sum())
    segment.close()
    tables_end = HEADER_BYTES + images * ENTRY_BYTES
    parts: Counter[str] = Counter()
    for number in range(flips):
        # Half of them anywhere, and half in what is small and matters for many images.
        end = len(whole[path]) if number % 2 else tables_end
        bit = int(rng.integers(0, 8 * end))
        part = part_of(path, bit // 8)
        flip(path, bit)
        report = program.run(job, right)
        where = f"bit {bit}, {part}"
        assert report.wrong == 0, where
        assert report.is_complete, where
        missed = {"header": images, "entry": 1, "image": 1, "nothing": 0}[part]
        assert report.images - report.hits[0] == missed, where
        assert report.counts["damaged"] == (part == "image"), where
        assert len(report.warnings) == (part in ("header", "image")), where
        for new in {*segments_of(job)} - {*whole}:
            new.unlink()
        for each, data in whole.items():
            each.write_bytes(data)
        parts[part] += 1
    return parts


def assert_flips_are_found(program: ModuleType, filled: MakeJob, flips: int, encoding: str) -> None:
    job, right = filled(40, encoding=encoding, size=16 if encoding == "raw" else 64)
    parts = flip_bits(program, job, right, flips)
    assert min(parts[part] for part in ("header", "entry", "image")) >= flips // 20


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_flipped_bit_is_found(program: ModuleType, filled: MakeJob, encoding: str) -> None:
    assert_flips_are_found(program, filled, 60, encoding)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_thousand_flipped_bits_are_found(
    program: ModuleType, filled: MakeJob, encoding: str
) -> None:
    assert_flips_are_found(program, filled, 1000, encoding)


def flip_bits_of_an_open_cache(program: ModuleType, job: Job, right: list[int], flips: int) -> None:
    rng = np.random.default_rng(flips)
    damaged = 0
    with closing(job.loader()) as loader, program.warnings_of_infeed() as said:
        epochs = itertools.count()
        for _ in range(flips):
            for batch in program.batches(loader, next(epochs), is_threaded=True):
                assert program.wrong_rows(batch, right) == 0
            paths = segments_of(job)
            path = paths[int(rng.integers(len(paths)))]
            # A header that is damaged while it is open is found by the next loader.
            bit = int(rng.integers(8 * HEADER_BYTES, 8 * path.stat().st_size))
            # An entry that is damaged while it is open still has its image, in memory.
            damaged += part_of(path, bit // 8) in ("image", "entry")
            flip(path, bit)
        for batch in program.batches(loader, next(epochs), is_threaded=True):
            assert program.wrong_rows(batch, right) == 0
        # A place that was given back and written anew may have been hit while it held nothing.
        assert 0 < loader.cache_counts.damaged <= damaged
        assert len(said) == 1
    later = program.run(job, right)
    assert (later.wrong, later.is_complete) == (0, True)


def open_bits(program: ModuleType, filled: MakeJob, flips: int) -> None:
    job, right = filled(72, threads=2)
    flip_bits_of_an_open_cache(program, job, right, flips)


@pytest.mark.parametrize("flips", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_bits_may_flip_while_the_cache_is_open(
    program: ModuleType, filled: MakeJob, flips: int
) -> None:
    open_bits(program, filled, flips)


Damage = Callable[[Job], None]


def cut_to(size: int) -> Damage:
    def damage(job: Job) -> None:
        for path in segments_of(job):
            os.truncate(path, size)

    damage.__name__ = f"cut_to_{size}"
    return damage


def cut_in_half(job: Job) -> None:
    for path in segments_of(job):
        os.truncate(path, path.stat().st_size // 2 + 1)


def remove_segments(job: Job) -> None:
    for path in segments_of(job):
        path.unlink()


def remove_everything(job: Job) -> None:
    shutil.rmtree(job.cache)


def remove_marker_and_description(job: Job) -> None:
    (job.cache / "infeed-cache.json").unlink()
    for path in job.cache.glob("*/store.json"):
        path.unlink()


def overwrite_with_noise(job: Job) -> None:
    rng = np.random.default_rng(5)
    for path in segments_of(job):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(rng.bytes(size))


def overwrite_with_zeros(job: Job) -> None:
    for path in segments_of(job):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(bytes(size))


def overwrite_with_another(job: Job) -> None:
    first, second = segments_of(job)[:2]
    data = second.read_bytes()
    with first.open("r+b") as file:
        file.write(data)


def swap(job: Job) -> None:
    first, second = segments_of(job)[:2]
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def overwrite_with_one_of_another_recipe(job: Job) -> None:
    other = type(job)(job.images, job.cache.with_name("other"), size=16, color="bgr")
    with closing(other.loader()) as loader:
        for number in range(loader.steps(0)):
            loader.batch(0, number)
    theirs = segments_of(other)[0].read_bytes()
    first, second = segments_of(job)[:2]
    with first.open("r+b") as file:
        file.write(theirs)
    replacement = second.with_name("replacement")
    replacement.write_bytes(theirs)
    replacement.replace(second)


def replace_by_folder(job: Job) -> None:
    for path in segments_of(job):
        path.unlink()
        path.mkdir()


def replace_by_pipe(job: Job) -> None:
    for path in segments_of(job):
        path.unlink()
        os.mkfifo(path)


DAMAGES: list[Damage] = [
    *map(cut_to, (0, 100, 4096, 4100, 8200)),
    cut_in_half,
    remove_segments,
    remove_everything,
    remove_marker_and_description,
    overwrite_with_noise,
    overwrite_with_zeros,
    overwrite_with_another,
    swap,
    overwrite_with_one_of_another_recipe,
    replace_by_folder,
    replace_by_pipe,
]


def train_through(
    program: ModuleType, job: Job, right: list[int], damage: Damage, *, after: int
) -> list[str]:
    """Three epochs, with the damage done after some batches; gives what was said."""
    with (
        closing(job.loader()) as loader,
        program.warnings_of_infeed() as said,
        loader.endless() as stream,
    ):
        steps = loader.steps(0)
        for number, batch in enumerate(itertools.islice(stream, 3 * steps)):
            assert program.wrong_rows(batch, right) == 0
            if number == after:
                damage(job)
    return list(said)


@pytest.mark.parametrize("is_filling", [False, True], ids=["full", "filling"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_while_training_changes_no_pixel(
    program: ModuleType, filled: MakeJob, damage: Damage, is_filling: bool
) -> None:
    job, right = filled(72, threads=2)
    if is_filling:
        # Two segments that others have begun, and that are gone on with.
        remove_segments(job)
        with closing(job.loader()) as one, closing(job.loader()) as another:
            one.batch(0, 0)
            another.batch(0, 1)
    said = train_through(program, job, right, damage, after=4)
    assert len(said) <= 2
    assert len(set(said)) == len(said)
    later = program.run(job, right)
    assert (later.wrong, later.is_complete) == (0, True)


def test_a_cache_whose_folder_becomes_a_file_is_done_without(
    program: ModuleType, filled: MakeJob
) -> None:
    job, right = filled(72, threads=2)

    def replace_by_file(job: Job) -> None:
        shutil.rmtree(job.cache)
        job.cache.write_text("not a folder any more")

    said = train_through(program, job, right, replace_by_file, after=4)
    assert len(said) <= 1
    with pytest.raises(NotADirectoryError, match="is a file: a cache is a folder"):
        job.loader()


@pytest.mark.parametrize("below", ["cache", "below/cache"])
def test_a_cache_below_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError, match=r"file is a file: .* cannot be in it"):
        Cache(tmp_path / "file" / below)


def write_newer_marker(job: Job) -> None:
    (job.cache / "infeed-cache.json").write_text(json.dumps({"format": 2}))


def test_a_folder_of_a_later_format_is_neither_read_nor_written(
    program: ModuleType, filled: MakeJob
) -> None:
    job, right = filled(24)
    write_newer_marker(job)
    before = {path: path.stat().st_mtime_ns for path in job.cache.rglob("*")}
    report = program.run(job, right)
    assert (report.wrong, report.hits) == (0, [0, 0])
    assert len(report.warnings) == 1
    assert "format version 2" in report.warnings[0]
    assert before == {path: path.stat().st_mtime_ns for path in job.cache.rglob("*")}


NESTED = pytest.param(b"[" * 100_000, id="nested")


@pytest.mark.parametrize(
    "marker", [b"", bytes(100), b'{"former": ', b"[]", b'{"format": "1"}', NESTED]
)
def test_a_damaged_marker_hides_no_images(
    program: ModuleType, filled: MakeJob, marker: bytes
) -> None:
    job, right = filled(24)
    (job.cache / "infeed-cache.json").write_bytes(marker)
    report = program.run(job, right)
    assert (report.wrong, report.hits, report.warnings) == (0, [24, 24], [])


@pytest.mark.parametrize("data", [b"", bytes(105), b'{\n  "format": 1', b"{\n  \0\0"])
def test_a_marker_that_never_came_to_the_disk_is_written_again(
    program: ModuleType, filled: MakeJob, data: bytes
) -> None:
    job, right = filled(24)
    marker = job.cache / "infeed-cache.json"
    whole = marker.read_bytes()
    marker.write_bytes(data)
    remove_segments(job)
    report = program.run(job, right)
    assert (report.wrong, report.is_complete, report.warnings) == (0, True, [])
    assert marker.read_bytes() == whole


@pytest.mark.parametrize("data", [b"", bytes(300), b'{"format": 1}', b"\xff" * 9, NESTED])
def test_a_damaged_description_is_written_again(
    program: ModuleType, filled: MakeJob, data: bytes
) -> None:
    job, right = filled(24)
    (path,) = job.cache.glob("*/store.json")
    whole = path.read_bytes()
    path.write_bytes(data)
    remove_segments(job)
    report = program.run(job, right)
    assert (report.wrong, report.is_complete, report.warnings) == (0, True, [])
    assert path.read_bytes() == whole


def test_a_segment_of_a_later_format_is_left_alone(program: ModuleType, filled: MakeJob) -> None:
    job, right = filled(24)
    (path,) = segments_of(job)
    with path.open("r+b") as file:
        file.seek(8)
        file.write(b"\2")
    before = path.read_bytes()
    report = program.run(job, right)
    assert (report.wrong, report.is_complete) == (0, True)
    assert len(report.warnings) == 1
    assert "it has format version 2" in report.warnings[0]
    assert path.read_bytes() == before


def test_what_a_copy_of_a_segment_is_asked_to_hold_is_held(
    program: ModuleType, filled: MakeJob
) -> None:
    job, right = filled(72)
    with closing(job.loader()) as loader:
        assert len(loader.manifest) == 72
    first = segments_of(job)[0]
    shutil.copy(first, first.with_name(f"{'0' * 32}.seg"))
    later = program.run(job, right)
    assert (later.wrong, later.hits, later.counts["damaged"]) == (0, [72, 72], 0)
    assert "a copy of another segment" in later.warnings[0]


def test_an_image_of_two_records_takes_no_other_with_it_when_it_is_damaged(
    images: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in images.iterdir())
    # Stored in this order; the ninth record is the second one again.
    manifest = Manifest.from_rows(
        [*names[:8], names[1], names[0]], images=images, duplicates="keep"
    )
    sampler = Sampler(batch_size=8, sampling="sequential")
    cache = Cache(tmp_path / "cache", encoding="raw")
    loader = Loader(manifest, Recipe(16, 16), sampler, cache=cache, threads=1)
    with closing(loader):
        for epoch in (0, 1):
            for number in (0, 1):
                loader.batch(epoch, number)
        (path,) = cache.folder.glob("*/*.seg")
        segment = Segment.open(path)
        flip(path, 8 * (segment.header.data_at + segment.header.slot_bytes))
        segment.close()
        for epoch in (2, 3):
            for number in (0, 1):
                loader.batch(epoch, number)
        assert loader.cache_counts.damaged == 1
