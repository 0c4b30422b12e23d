"""A fill that is killed leaves nothing wrong, and nothing that the next process cannot go on with.

What the tests do to a fill, in `make test` with fewer kills than in `make torture`:

- kill -9 before each call that changes a file, and in the middle of each write and reservation;
- kill -9 at random instants, of two processes that fill one cache;
- Ctrl-C.

Every row of every batch is checked, in the fill and in the process that goes on. That one must
end with a full cache, without a word, and with no more space taken than its images need.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Faults = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]

# Smaller images would be larger as JPEG.
JPEG = ("--encoding", "jpeg", "--size", "64")


def assert_nothing_happened(tally: dict[str, Any], *, spare: int = 0) -> None:
    assert tally["wrong"] == tally["incomplete"] == tally["hangs"] == 0
    assert tally["later_warnings"] == []
    assert tally["unfinished"] == 0
    assert tally["slots"] <= tally["images"] + spare


@pytest.mark.parametrize("kind", ["kill", "half"])
def test_a_fill_killed_at_any_call_is_gone_on_with(faults: Faults, kind: str) -> None:
    tally = faults(40, "sweep", kind)
    assert tally["faults"] == tally["kills"] > 20
    assert_nothing_happened(tally)


def test_a_fill_of_jpegs_killed_in_any_write_is_gone_on_with(faults: Faults) -> None:
    tally = faults(40, "sweep", "half", *JPEG)
    assert tally["faults"] == tally["kills"] > 20
    assert_nothing_happened(tally)


def test_fills_killed_at_random_instants_are_gone_on_with(faults: Faults) -> None:
    tally = faults(200, "random", "--kills", "20")
    assert tally["kills"] >= 20
    # Two that fill at once may both store an image.
    assert_nothing_happened(tally, spare=200)


def test_ctrl_c_in_a_fill_leaves_no_process_and_no_space(
    start_fill: Start, many_images: Callable[[int], Path], tmp_path: Path
) -> None:
    images, cache = many_images(200), tmp_path / "cache"
    process = start_fill(images, cache, "--threads", "2", "--epochs", "100000")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt")
    out, _ = start_fill(images, cache).communicate(timeout=60)
    report = json.loads(out.splitlines()[-1])
    assert (report["wrong"], report["hits"][-1], report["warnings"]) == (0, 200, [])
    pixels = 200 * 16 * 16 * 3
    files = [path.stat().st_size for path in cache.glob("*/*.seg")]
    assert sum(files) <= pixels + len(files) * 4 * 4096


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), JPEG], ids=["raw", "jpeg"])
@pytest.mark.parametrize("kind", ["kill", "half"])
def test_a_long_fill_killed_at_any_call_is_gone_on_with(
    faults: Faults, kind: str, form: tuple[str, ...]
) -> None:
    tally = faults(200, "sweep", kind, *form)
    assert tally["faults"] == tally["kills"] > 60
    assert_nothing_happened(tally)


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), JPEG], ids=["raw", "jpeg"])
def test_fills_killed_at_200_random_instants_are_gone_on_with(
    faults: Faults, form: tuple[str, ...]
) -> None:
    tally = faults(600, "random", "--kills", "200", *form)
    assert tally["kills"] >= 200
    assert_nothing_happened(tally, spare=600)
