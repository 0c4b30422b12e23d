"""A power failure loses what was not synced, and no more than that: no wrong pixel, no dead cache.

Nothing in a cache is synced, so all that was written since some instant may be lost, page by
page and name by name. The tests take the files of a cache at two instants, and make states that
may be between them: each page of 4096 bytes that differs is old, new or zero; each file has its
old or its new length, or one between; files that are new are there, or not, or still have the
name under which they were made; descriptions are empty or zeros. `make test` makes 40 such
states, `make torture` 500 of each kind.

In each state a loader must give the right pixels, fill the cache, and then decode nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from infeed.whole_file import PARTIAL

PAGE = 4096

Job = Any  # `fill_program.Job`
Files = dict[Path, bytes]
Rng = np.random.Generator


def files_of(cache: Path) -> Files:
    """What is in a cache, by path."""
    return {
        path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()
    }


def lose_pages(old: bytes, new: bytes, rng: Rng) -> bytes:
    """A file of which some of what was written is lost."""
    shorter, longer = sorted((len(old), len(new)))
    length = int(rng.choice([shorter, longer, rng.integers(shorter, longer + 1)]))
    share = rng.random()
    data = bytearray((new + old[len(new) :])[:length])
    for begin in range(0, length, PAGE):
        before = old[begin : begin + PAGE].ljust(PAGE, b"\0")[: length - begin]
        if data[begin : begin + PAGE] != before[:PAGE] and rng.random() < share:
            data[begin : begin + PAGE] = before if rng.random() < 0.7 else bytes(len(before))
    return bytes(data)


def state_between(old: Files, new: Files, rng: Rng) -> Files:
    """Files as a power failure may leave them."""
    state: Files = {}
    for path, data in new.items():
        name, fate = path, rng.random()
        if path not in old:
            if fate < 0.15:
                continue
            if fate < 0.3:
                name = path.with_name(f"{PARTIAL}{path.name}")
        state[name] = lose_pages(old.get(path, b""), data, rng)
        if path.suffix == ".json" and fate > 0.8:
            state[name] = b"" if fate > 0.9 else bytes(len(data))
    # What was removed in the meantime may be there again.
    return state | {path: data for path, data in old.items() if path not in new}


def write(cache: Path, files: Files) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    for path, data in files.items():
        (cache / path).parent.mkdir(parents=True, exist_ok=True)
        (cache / path).write_bytes(data)


def instants(program: ModuleType, job: Job, first: int, second: int | None) -> tuple[Files, Files]:
    """The files of a cache after so many batches, and after more or at the end of a run."""
    with ExitStack() as closings:
        loader = closings.enter_context(closing(job.loader()))
        for number in range(first):
            loader.batch(0, number)
        old = files_of(job.cache) if first else {}
        for number in range(first, second or loader.steps(0)):
            loader.batch(0, number)
        if second is not None:
            return old, files_of(job.cache)
    return old, files_of(job.cache)


def lose_power(program: ModuleType, job: Job, states: int, seed: int) -> None:
    rng, right = np.random.default_rng(seed), job.right()
    steps = job.loader().steps(0)
    harmed = 0
    for number in range(states):
        if number % 20 == 0:
            shutil.rmtree(job.cache, ignore_errors=True)
            first = int(rng.integers(0, steps))
            is_open = bool(rng.integers(2))
            second = int(rng.integers(first + 1, steps + 1)) if is_open else None
            old, new = instants(program, job, first, second)
        state = state_between(old, new, rng)
        write(job.cache, state)
        report = program.run(job, right)
        where = f"state {number}, batches {first} to {second}"
        assert report.wrong == 0, where
        assert report.is_complete, where
        assert len(report.warnings) <= 1, (where, report.warnings)
        assert not list(job.cache.glob(f"*/{PARTIAL}*.seg")), where
        again = program.run(job, right, [2])
        assert (again.wrong, again.is_complete, again.warnings) == (0, True, []), where
        harmed += report.hits[0] < report.images
    assert harmed > states // 2


@pytest.mark.parametrize(
    ("encoding", "states"),
    [
        ("raw", 20),
        ("jpeg", 20),
        pytest.param("raw", 500, marks=pytest.mark.slow),
        pytest.param("jpeg", 500, marks=pytest.mark.slow),
    ],
)
def test_a_power_failure_leaves_the_right_pixels_or_none(
    program: ModuleType,
    many_images: Callable[[int], Path],
    tmp_path: Path,
    encoding: str,
    states: int,
) -> None:
    size = 16 if encoding == "raw" else 64
    job = program.Job(many_images(72), tmp_path / "cache", encoding=encoding, size=size)
    lose_power(program, job, states, seed=states)
