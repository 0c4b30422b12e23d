"""`fit` killed at any instant and started again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("killable_run.py")
COUNT = 60

# A process in which nothing is left to chance but the instant of the kill.
ENVIRONMENT = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    with (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), *options], env=ENVIRONMENT, stderr=stderr
        )


def finish(folder: Path, *options: str) -> None:
    code = start(folder, *options).wait()
    assert code == 0, (folder / "stderr").read_text()


def kill_after(folder: Path, seconds: float, *options: str) -> bool:
    """Kills a run `seconds` after its training has begun; whether it was still running."""
    (folder / "begun").unlink(missing_ok=True)
    process = start(folder, *options)
    try:
        while process.poll() is None and not (folder / "begun").exists():
            with_patience(process, 0.01)
        with_patience(process, seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode in (0, -signal.SIGKILL), (folder / "stderr").read_text()
    return process.returncode != 0


def with_patience(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Lets a process run for a while, or to its end."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def epochs_of(folder: Path) -> dict[int, dict[str, Any]]:
    """What was written of each epoch; where it ended twice, both have to agree."""
    epochs: dict[int, dict[str, Any]] = {}
    for line in (folder / "epochs.jsonl").read_text().splitlines():
        ended = json.loads(line)
        assert epochs.setdefault(ended["epoch"], ended) == ended
    return epochs


def assert_same_run(folder: Path, whole: Path) -> None:
    with np.load(folder / "weights.npz") as resumed, np.load(whole / "weights.npz") as expected:
        assert resumed.files == expected.files
        for name in expected.files:
            np.testing.assert_array_equal(resumed[name], expected[name], strict=True)
    assert epochs_of(folder) == epochs_of(whole)
    assert (folder / "history.json").read_text() == (whole / "history.json").read_text()


def assert_every_picture_once_an_epoch(folder: Path) -> None:
    for number, epoch in epochs_of(folder).items():
        assert epoch["seen"] == [number + 1] * COUNT


def kill_again_and_again(tmp_path: Path, kills: int, *options: str, seed: int = 99) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(whole, *options)
    if not set(options) & {"carry", "drop", "--steps-per-epoch"}:
        assert_every_picture_once_an_epoch(whole)
    rng = np.random.default_rng(seed)
    number, done = 0, 0
    folder = killed
    while done < kills:
        if kill_after(folder, float(rng.uniform(0, 0.6)), *options):
            done += 1
            continue
        # It came to its end before: a whole run, compared, and another one is begun.
        assert_same_run(folder, whole)
        number += 1
        folder = tmp_path / f"killed-{number}"
    finish(folder, *options)
    assert_same_run(folder, whole)


def test_a_run_killed_at_random_instants_ends_with_the_weights_of_a_whole_run(
    tmp_path: Path,
) -> None:
    kill_again_and_again(tmp_path, 3 if keras.backend.backend() == "jax" else 5)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_a_run_killed_at_30_random_instants_ends_with_the_weights_of_a_whole_run(
    tmp_path: Path, part: int
) -> None:
    kill_again_and_again(tmp_path, 5, seed=part)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--remainder", "carry"),
        ("--remainder", "drop"),
        ("--steps-per-epoch", "5"),
        ("--save-freq", "1"),
    ],
    ids=" ".join,
)
def test_a_killed_run_ends_as_a_whole_one_whatever_its_epochs(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    kill_again_and_again(tmp_path, 5, *options)
