"""Commands that are interrupted at random instants: `benchmarks/interrupting.py` judges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "interrupting.py"


def interrupted(*options: str, seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, *options],
        # What the tests tell Python about warnings makes it start in another way.
        env={name: each for name, each in os.environ.items() if name != "PYTHONWARNINGS"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_commands_that_are_interrupted_at_some_instant_end_in_order():
    options = ("--count", "2", "--resume-every", "2", "--images", "40", "--seed", "3")
    interrupted("train", "fill", "verify", "replay", *options, seconds=110)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["train", "train_small", "fill", "verify", "bench", "demo", "replay"]
)
def test_each_command_ends_in_order_at_any_of_fifty_instants(command):
    interrupted(command, "--count", "50", seconds=3600)
