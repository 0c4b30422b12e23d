"""A run that was stopped after any step goes on in another process as if nothing had been."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("restore_program.py")
COUNT = 21


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise in three classes of 12, 7 and 2 images; one of them is broken."""
    noise = np.random.default_rng(3)
    rows = []
    for number in range(COUNT):
        name = f"图 {number}.jpg"
        pixels = noise.integers(0, 256, (24, 20, 3), np.uint8)
        data = cv2.imencode(".jpg", pixels)[1].tobytes() if number != 5 else b"no picture"
        (tmp_path / name).write_bytes(data)
        label = "a" if number < 12 else "b" if number < 19 else "c"
        rows.append({"image_id": name, "disease_class": label})
    (tmp_path / "train.json").write_text(json.dumps(rows), "utf-8")
    return tmp_path


def run(folder: Path, part: str) -> Any:
    subprocess.run([sys.executable, str(PROGRAM), str(folder), part], check=True, timeout=300)
    return json.loads((folder / f"{part}.json").read_text("utf-8"))


def test_what_a_new_process_delivers_after_any_step_is_the_rest_of_the_run(folder: Path) -> None:
    whole, states, resumed = (run(folder, part) for part in ("whole", "stopped", "resumed"))
    for uninterrupted, states_of_run, runs in zip(whole, states, resumed, strict=True):
        assert len(runs) == len(uninterrupted) == 13
        for done, rest in enumerate(runs):
            assert rest == uninterrupted[done:]
        assert len({json.dumps(state["cursor"]) for state in states_of_run}) == len(runs)
        assert all(len(json.dumps(state)) < 4096 for state in states_of_run)
        words = [row[4] for batch in uninterrupted for row in batch]
        assert len(set(words)) == len(words)
