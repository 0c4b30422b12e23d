"""A disk that is full, fails, or may not be written costs images in the cache, and nothing else.

What the tests do, in `make test` with fewer calls than in `make torture`:

- ENOSPC, EIO and EDQUOT at each call that changes a file, once and from then on, and writes that
  end early; EIO at each call that reads (`test_cache_system_calls.py` does the same by strace);
- files that may have a size of their own at most, a limit of the cache, a disk of 4 MB;
- folders that may not be written or looked at, as another user and on a read-only disk.

Every row of every batch is checked; a fill says once that it stores no more; where there is
space, the process that goes on fills the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Faults = Callable[..., dict[str, Any]]
Fill = Callable[..., dict[str, Any]]
MakeImages = Callable[[int], Path]

NOBODY = 65534
STOPPED = "takes no more images"


def assert_only_images_were_lost(tally: dict[str, Any], *, most_warnings: int = 1) -> None:
    assert tally["wrong"] == tally["incomplete"] == tally["hangs"] == tally["kills"] == 0
    assert 1 <= tally["most_warnings"] <= most_warnings
    assert tally["later_warnings"] == []
    assert tally["slots"] <= tally["images"]


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO+", "EDQUOT", "short"])
def test_any_call_that_changes_the_cache_may_fail(faults: Faults, kind: str) -> None:
    tally = faults(40, "sweep", kind, "--every", "2")
    assert tally["faults"] > 10
    assert_only_images_were_lost(tally)
    assert all(STOPPED in text for text in tally["warnings"])


@pytest.mark.parametrize("kind", ["read:EIO", "read:EIO+"])
def test_any_call_that_reads_the_cache_may_fail(faults: Faults, kind: str) -> None:
    tally = faults(40, "sweep", kind, "--every", "2")
    assert tally["faults"] > 10
    assert_only_images_were_lost(tally, most_warnings=3 if kind.endswith("+") else 1)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize(
    "kind", [f"{name}{n}" for name in ("ENOSPC", "EIO", "EDQUOT") for n in ("", "+")] + ["short"]
)
def test_any_call_of_a_long_fill_may_fail(faults: Faults, kind: str, encoding: str) -> None:
    tally = faults(200, "sweep", kind, "--encoding", encoding, "--size", "48")
    assert tally["faults"] > 60
    assert_only_images_were_lost(tally)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["read:EIO", "read:EIO+"])
def test_any_call_of_a_long_fill_that_reads_may_fail(faults: Faults, kind: str) -> None:
    tally = faults(200, "sweep", kind)
    assert tally["faults"] > 60
    assert_only_images_were_lost(tally, most_warnings=3 if kind.endswith("+") else 1)


def test_files_that_may_not_grow_become_more_files(
    fill: Fill, many_images: MakeImages, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    report = fill(many_images(72), cache, "--largest-file", 30_000)
    assert (report["wrong"], report["hits"], report["warnings"]) == (0, [0, 72], [])
    sizes = [path.stat().st_size for path in cache.glob("*/*.seg")]
    assert len(sizes) > 2
    assert max(sizes) <= 30_000


def test_files_that_may_have_no_bytes_hold_nothing(
    program: ModuleType, fill: Fill, many_images: MakeImages, tmp_path: Path
) -> None:
    images, cache = many_images(24), tmp_path / "cache"
    report = fill(images, cache, "--largest-file", 5_000)
    assert (report["wrong"], report["hits"]) == (0, [0, 0])
    assert len(report["warnings"]) == 1
    assert "File too large" in report["warnings"][0]
    assert not list(cache.glob("*/*.seg"))
    job = program.Job(images, cache)
    assert program.run(job, job.right()).is_complete


def test_a_cache_at_its_limit_holds_as_much_and_says_so_once(
    program: ModuleType, many_images: MakeImages, tmp_path: Path
) -> None:
    job = program.Job(many_images(72), tmp_path / "cache", limit=40_000)
    right = job.right()
    for epochs in ([0, 1], [2]):
        report = program.run(job, right, epochs)
        assert report.wrong == 0
        assert 0 < report.hits[-1] < 72
        (said,) = report.warnings
        assert "the limit is 40.0 kB" in said
    assert sum(path.stat().st_size for path in job.cache.glob("*/*.seg")) <= 40_000


@pytest.fixture
def own_mounts() -> tuple[str, ...]:
    """A command before a shell script, whose mounts nobody else sees and that end with it."""
    for command in (["unshare", "-m"], ["unshare", "-Urm"]):
        if (
            shutil.which("unshare")
            and not subprocess.run(
                [*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
            ).returncode
        ):
            return (*command, "sh", "-ec")
    pytest.skip("nothing may be mounted here")


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_disk_of_4_mb_is_filled_and_spared(
    fill: Fill,
    many_images: MakeImages,
    tmp_path: Path,
    own_mounts: tuple[str, ...],
    encoding: str,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=4m none "$0"; "$@"; df --output=avail "$0" >&2'
    wrapper = (*own_mounts, script, str(disk))
    size = 160 if encoding == "raw" else 640
    report = fill(
        many_images(100), disk / "cache", "--size", size, "--encoding", encoding, wrapper=wrapper
    )
    assert report["wrong"] == 0
    assert 10 < report["hits"][1] < 100
    # What does not fit the rest of the disk is left out, too: other images may.
    assert report["counts"]["stored"] == report["hits"][1]
    (said,) = report["warnings"]
    assert STOPPED in said


def test_a_read_only_disk_is_read(
    program: ModuleType,
    fill: Fill,
    many_images: MakeImages,
    tmp_path: Path,
    own_mounts: tuple[str, ...],
) -> None:
    images, disk = many_images(72), tmp_path / "disk"
    disk.mkdir()
    job = program.Job(images, disk / "cache")
    loader = job.loader()
    for number in range(5):
        loader.batch(0, number)
    loader.close()
    script = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; "$@"'
    report = fill(images, disk / "cache", wrapper=(*own_mounts, script, str(disk)))
    assert (report["wrong"], report["hits"]) == (0, [40, 40])
    (said,) = report["warnings"]
    assert STOPPED in said
    assert "Read-only file system" in said
    nothing = fill(images, disk / "new", wrapper=(*own_mounts, script, str(disk)))
    assert (nothing["wrong"], nothing["hits"]) == (0, [0, 0])
    assert len(nothing["warnings"]) == 1
    assert program.run(job, job.right()).is_complete


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def foreign(open_folder: Path, many_images: MakeImages) -> tuple[Path, Path]:
    """Images, and the path of a cache; both may be read by everybody."""
    images = open_folder / "images"
    shutil.copytree(many_images(72), images)
    return images, open_folder / "cache"


def as_nobody(folder: Path) -> tuple[str, ...]:
    """Takes the right to write to a folder away, also from root."""
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        path.chmod(0o555)
    return ("--user", str(NOBODY))


def test_a_folder_that_may_not_be_written_is_read(
    program: ModuleType, fill: Fill, foreign: tuple[Path, Path]
) -> None:
    images, cache = foreign
    job = program.Job(images, cache)
    loader = job.loader()
    for number in range(5):
        loader.batch(0, number)
    loader.close()
    os.truncate(next(cache.glob("*/*.seg")), 20_000)
    for path in cache.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    report = fill(images, cache, *as_nobody(cache))
    assert report["wrong"] == 0
    assert 0 < report["hits"][1] < 40
    assert len(report["warnings"]) == 2
    assert any("Permission denied" in text for text in report["warnings"])
    assert any("is damaged: the file is too short" in text for text in report["warnings"])


def test_a_folder_that_cannot_be_made_is_said_once(fill: Fill, foreign: tuple[Path, Path]) -> None:
    images, cache = foreign
    cache.mkdir()
    report = fill(images, cache / "new", *as_nobody(cache))
    assert (report["wrong"], report["hits"]) == (0, [0, 0])
    (said,) = report["warnings"]
    assert "Permission denied" in said


@pytest.mark.parametrize("limit", [(), ("--limit", "1000000")])
def test_a_folder_that_may_not_be_looked_at_is_said_once(
    fill: Fill, foreign: tuple[Path, Path], limit: tuple[str, ...]
) -> None:
    images, cache = foreign
    cache.mkdir(mode=0o700)
    options = ("--user", NOBODY) if os.getuid() == 0 else ()
    if not options:
        cache.chmod(0)
    report = fill(images, cache / "new", *options, *limit, "--encoding", "auto")
    assert (report["wrong"], report["hits"]) == (0, [0, 0])
    (said,) = report["warnings"]
    assert "Permission denied" in said
