"""Small files that ask for much are refused from their header, and cost next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("bombs_program.py")

# What they cost in time the program says; benchmarks/README.md has it.
MEGABYTES = 50


@pytest.fixture(scope="module")
def measured():
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["photo"]["outcome"] == "decoded"
    assert result["photo"]["peak_mb"] > 4000 * 4000 * 3 / 2**20
    return result


def test_every_bomb_is_refused_within_its_bounds(measured):
    assert len(measured["refused"]) >= 22
    for name, cost in measured["refused"].items():
        # Beyond the budget, or so little data that it need not be tried.
        assert cost["outcome"] in ("too_large", "unsupported", "corrupt", "truncated"), name
        assert cost["peak_mb"] < MEGABYTES, name


def test_claims_beyond_the_budget_are_called_too_large(measured):
    names = [name for name in measured["refused"] if "square" in name and "9,000" not in name]
    assert len(names) > 12
    for name in names:
        if "frames of" not in name and "bmp 30,000" not in name:
            assert measured["refused"][name]["outcome"] == "too_large", name


def test_what_only_looks_like_a_bomb_is_decoded_within_the_same_bounds(measured):
    assert len(measured["decoded"]) >= 10
    for name, cost in measured["decoded"].items():
        assert cost["outcome"] == "decoded", name
        assert cost["peak_mb"] < MEGABYTES, name
