"""Ctrl-C: the terminal sends SIGINT to the whole process group."""

from __future__ import annotations

import json
import os
import signal

import pytest

from infeed.trainers.run_folder import RUN_FILES, make_run_folder


def interrupt(process, *, after):
    """Presses Ctrl-C once a line of the output begins with `after`; returns (stdout, stderr)."""
    for line in process.stdout:
        if line.startswith(after):
            break
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=60)


def no_process_is_left(process):
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_ctrl_c_in_bench_ends_with_130_and_leaves_no_process(infeed, leaves):
    process = infeed.start("bench", leaves.train_images, "--size", "16", "--epochs", "1000000")
    _, said = interrupt(process, after="40 images")
    assert process.returncode == 130
    assert said.splitlines()[-1:] == ["infeed: interrupted"]
    assert "Traceback" not in said
    no_process_is_left(process)


def test_ctrl_c_in_train_ends_with_130_and_keeps_the_last_whole_epoch(infeed, leaves):
    process = infeed.start(
        *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
        *("--epochs", "1000000", "--out", "out"),
    )
    _, said = interrupt(process, after="Epoch 2/")
    assert process.returncode == 130
    assert said.splitlines()[-1:] == ["infeed: interrupted"]
    assert "Traceback" not in said
    no_process_is_left(process)
    out = infeed.folder / "out"
    left = {path.name for path in out.iterdir()}
    assert left == {*RUN_FILES, "backup", "bad_images.jsonl"} - {"run.json"}
    assert len(json.loads((out / "class_names.json").read_text("utf-8"))) == 6
    with pytest.raises(FileExistsError):
        make_run_folder(out)
