"""Every system call of a fill that touches the cache fails once, or is the last one of its process.

One fill is watched by strace; then each of its calls has a fill of its own, in which strace lets
it fail or kills the process before it. Whoever makes the call, Python's own files included, is
found so. What cannot be done by strace, halves of writes, is in `fault_program.py`. `make test`
does it with a few of the calls.

Every row is checked. A fill with a failing call says at most one thing about each part of the
cache, and the process that goes on ends with a full cache and says nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

FILL = Path(__file__).with_name("fill_program.py")
WRITES = (
    *("pwritev", "pwritev2", "pwrite64", "write", "fallocate", "ftruncate", "openat"),
    *("unlink", "rename", "mkdir", "flock"),
)
READS = ("preadv", "preadv2", "pread64", "read", "openat", "getdents64", "statfs")
SHORT = ("pwritev", "pwritev2", "pwrite64")

Sweep = Callable[..., None]


class Sweeper:
    """Fills of one set, each with a fault of its own.

    Attributes:
        job: what is filled; the cache is another one each time.
        right: the checksums of the images.
    """

    def __init__(self, program: ModuleType, images: Path, folder: Path) -> None:
        self._program, self._images, self._folder = program, images, folder
        self.right = program.Job(images, folder / "none").right()

    def fill(self, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """A fill under strace."""
        command = ["strace", "-qq", "-o", str(cache.with_suffix(".log")), "-y", *options]
        command += [sys.executable, str(FILL), str(self._images), str(cache)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"},
        )

    def calls(self, names: tuple[str, ...], *, is_full: bool) -> list[tuple[str, int]]:
        """The calls of a fill that touch the cache: name, and which of that name it is."""
        cache = self._folder / "watched"
        assert self.fill(cache, f"--trace={','.join(names)}").returncode == 0
        if not is_full:
            shutil.rmtree(cache)
            assert self.fill(cache, f"--trace={','.join(names)}").returncode == 0
        number: Counter[str] = Counter()
        found = []
        for line in cache.with_suffix(".log").read_text("utf-8", "replace").splitlines():
            name = line.partition("(")[0]
            number[name] += 1
            if re.search(rf"{re.escape(str(cache))}\b(?!\.)", line):
                found.append((name, number[name]))
        return found

    def meet(self, name: str, number: int, fault: str, *, is_full: bool) -> bool:
        """One fill with a fault, and another one that goes on; whether it was killed."""
        cache = self._folder / f"{name}-{number}"
        if is_full:
            shutil.copytree(self._folder / "watched", cache)
        ended = self.fill(cache, f"--trace={name}", f"--inject={name}:{fault}:when={number}")
        if "KILL" in fault:
            assert ended.returncode == -9, ended.stderr
        else:
            assert ended.returncode == 0, f"{cache.name}: {ended.stderr}"
            report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
            assert report["wrong"] == 0, cache.name
            assert len(report["warnings"]) <= 1, (cache.name, report["warnings"])
        later = self._program.run(self._program.Job(self._images, cache), self.right)
        assert (later.wrong, later.is_complete, later.warnings) == (0, True, []), cache.name
        shutil.rmtree(cache)
        return ended.returncode != 0


@pytest.fixture
def sweep(
    program: ModuleType, many_images: Callable[[int], Path], tmp_path: Path
) -> Callable[..., None]:
    def make(
        names: tuple[str, ...], fault: str, *, is_full: bool = False, most: int | None = None
    ) -> None:
        sweeper = Sweeper(program, many_images(100), tmp_path)
        calls = sweeper.calls(names, is_full=is_full)
        assert len(calls) > 15
        calls = calls[:: 1 if most is None else -(-len(calls) // most)]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda call: sweeper.meet(*call, fault, is_full=is_full), calls))

    return make


def test_a_fill_killed_at_some_system_calls_is_gone_on_with(sweep: Sweep) -> None:
    sweep(WRITES, "signal=KILL", most=4)


def test_some_calls_that_read_the_cache_may_fail(sweep: Sweep) -> None:
    sweep(READS, "error=EIO", is_full=True, most=2)


@pytest.mark.slow
def test_a_fill_killed_at_any_system_call_is_gone_on_with(sweep: Sweep) -> None:
    sweep(WRITES, "signal=KILL")


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_call_that_changes_the_cache_may_fail(sweep: Sweep, error: str) -> None:
    sweep(WRITES, f"error={error}")


@pytest.mark.slow
def test_a_write_may_end_early(sweep: Sweep) -> None:
    sweep(SHORT, "retval=7")


@pytest.mark.slow
@pytest.mark.parametrize("is_full", [False, True], ids=["filling", "full"])
def test_a_call_that_reads_the_cache_may_fail(sweep: Sweep, is_full: bool) -> None:
    sweep(READS, "error=EIO", is_full=is_full)
