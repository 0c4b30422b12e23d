"""Damaged files by the hundred: each decoded, recovered or refused, in silence and in bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from infeed.errors import DECODE_REASONS

PROGRAM = Path(__file__).with_name("mutants_program.py")
GOOD = {"decoded", "recovered"}


def run(folder, seed, count, color_mode="rgb"):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", PROGRAM, folder, str(seed), str(count), color_mode],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    # Nothing but a codec could have written: the program prints nothing.
    assert (done.stdout, done.stderr) == (b"", b"")
    result = json.loads((folder / "result.json").read_text())
    assert set(result["outcomes"]) <= GOOD | set(DECODE_REASONS)
    slowest, name = result["slowest"][-1]
    assert slowest < 5, name
    assert result["end_mb"] - result["start_mb"] < 200
    return result


def test_some_damaged_files_through_a_loader(tmp_path):
    result = run(tmp_path, seed=1, count=600)
    counts = Counter(result["outcomes"])
    # The test would prove nothing if all files were whole, or all beyond recognition.
    assert counts["decoded"] > 50
    assert counts["truncated"] > 50
    assert counts["corrupt"] > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "count", "color_mode"),
    [(2, 10_000, "rgb"), (3, 3_000, "rgba"), (4, 3_000, "grayscale")],
)
def test_ten_thousand_damaged_files_through_a_loader(tmp_path, seed, count, color_mode):
    result = run(tmp_path, seed, count, color_mode)
    assert len(result["outcomes"]) == count
    # What the decoders may hold between them, and a little for everything else.
    assert result["peak_mb"] - result["start_mb"] < 2048 + 512


def test_the_same_seed_gives_the_same_files(mutants):
    one, other = (list(mutants.mutants(5, 200)) for _ in range(2))
    assert one == other
    assert one != list(mutants.mutants(6, 200))


def test_every_way_of_damage_meets_every_format(mutants):
    names = [name for name, _ in mutants.mutants(1, 2000)]
    for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        met = {name.split(": ")[1] for name in names if name.split()[1].startswith(kind)}
        assert met == set(mutants.HOW) - (set() if kind == "png" else {"pixels"})


def test_a_file_is_cut_at_each_of_its_joints(mutants):
    data = mutants.originals()["jpeg progressive"]
    markers = [joint.at for joint in mutants.joints(data)]
    assert len(markers) > 20
    assert all(data[at] == 0xFF for at in markers)
