"""Nothing grows over many epochs: `benchmarks/soak.py` measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def soak(*options: str, seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, *options],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_thirty_epochs_of_a_few_images_leave_memory_threads_and_descriptors_as_they_are():
    # In so few epochs the caches of Python, JAX and malloc are still filling.
    soak("--epochs", "30", "--images", "200", "--kilobytes", "1000", seconds=110)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loader", "fit"])
def test_300_epochs_of_2000_cached_images_leave_them_as_they_are(kind):
    soak("--kinds", kind, seconds=3600)
