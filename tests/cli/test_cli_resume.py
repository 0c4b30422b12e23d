"""`infeed train --resume`: goes on where an interrupted run was, or says why not."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

STEPS = 5  # of an epoch: 40 leaves, 8 a batch


@pytest.fixture
def train(infeed, leaves):
    """`infeed train` with a backup after every step, into the folder `run`."""

    def arguments(*more: Any, out: str = "run") -> tuple[Any, ...]:
        return (
            *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
            *("--val", leaves.validation_manifest, "--val-images", leaves.validation_images),
            *("--backup-every", "1", "--out", out, *more),
        )

    return arguments


def killed(infeed, arguments, *, after):
    """Starts the command and kills it when a line of its output begins so."""
    process = infeed.start(*arguments)
    for line in process.stdout:
        if line.startswith(after):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()


def result_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def log_of(folder: Path) -> str:
    return (folder / "log.csv").read_text("utf-8")


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(infeed, train):
    result_of(infeed(*train("--epochs", "3", "--json", out="whole")))
    killed(infeed, train("--epochs", "3"), after="Epoch 1/")
    resumed = infeed(*train("--epochs", "3", "--json", "--resume"))
    result = result_of(resumed)
    assert "Going on from the backup in run." in resumed.stderr
    assert result["resumed_at"] >= 1
    assert (result["epochs"], result["steps"], result["images_seen"]) == (3, 3 * STEPS, 120)
    assert log_of(infeed.folder / "run") == log_of(infeed.folder / "whole")
    assert {path.name for path in (infeed.folder / "run").iterdir()} == {
        path.name for path in (infeed.folder / "whole").iterdir()
    }


def test_resume_without_anything_to_resume_begins_and_says_so(infeed, train):
    done = infeed(*train("--epochs", "1", "--resume"))
    assert done.returncode == 0, done.stderr
    assert "There is no backup in run to go on from: starting at the beginning." in done.stdout
    assert "Trained 1 epoch, 40 images in " in done.stdout


def test_a_run_that_was_killed_before_its_first_backup_begins_again(infeed, train):
    result_of(infeed(*train("--epochs", "2", "--json", out="whole")))
    killed(infeed, train("--epochs", "2"), after="Training ")
    result = result_of(infeed(*train("--epochs", "2", "--resume", "--json")))
    assert result["steps"] == 2 * STEPS
    assert log_of(infeed.folder / "run") == log_of(infeed.folder / "whole")


def test_resuming_a_finished_run_says_that_it_is_finished(infeed, train):
    first = result_of(infeed(*train("--epochs", "2", "--json")))
    before = log_of(infeed.folder / "run")
    done = infeed(*train("--epochs", "2", "--resume"))
    assert done.returncode == 0
    assert done.stdout == (
        "The run in run is finished: it has trained 2 epochs. Pass more --epochs to train on.\n"
    )
    again = result_of(infeed(*train("--epochs", "2", "--resume", "--json")))
    assert {name: again[name] for name in first} == first
    assert log_of(infeed.folder / "run") == before


def test_a_finished_run_goes_on_with_more_epochs(infeed, train):
    result_of(infeed(*train("--epochs", "3", "--json", out="whole")))
    result_of(infeed(*train("--epochs", "2", "--json")))
    result = result_of(infeed(*train("--epochs", "3", "--resume", "--json")))
    assert result["resumed_at"] == 2 * STEPS
    assert log_of(infeed.folder / "run") == log_of(infeed.folder / "whole")


def test_other_settings_are_refused_by_name_and_leave_the_run_as_it_is(infeed, train):
    result_of(infeed(*train("--epochs", "1", "--json")))
    files = {p: p.read_bytes() for p in (infeed.folder / "run").rglob("*") if p.is_file()}
    done = infeed(*train("--epochs", "2", "--seed", "9", "--resume"))
    assert done.returncode == 3
    assert "seed: saved 0, now 9" in done.stderr
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in (infeed.folder / "run").rglob("*") if p.is_file()} == files


def test_resume_without_a_folder_is_wrong_usage(infeed, leaves):
    done = infeed("train", leaves.train_manifest, "--resume")
    assert done.returncode == 2
    assert "--resume needs to know which run: pass its --out" in done.stderr


def test_a_run_is_not_overwritten_and_the_cure_is_named(infeed, train):
    result_of(infeed(*train("--epochs", "1", "--json")))
    done = infeed(*train("--epochs", "1"))
    assert done.returncode == 1
    assert "run holds something already. Add --resume to go on with the run in it." in done.stderr


def test_a_folder_that_holds_something_else_is_not_resumed(infeed, train):
    (infeed.folder / "run").mkdir()
    (infeed.folder / "run" / "论文.txt").write_text("mine")
    done = infeed(*train("--epochs", "1", "--resume"))
    assert done.returncode == 1
    assert "run holds something that is not of a run: '论文.txt'" in done.stderr
    assert [path.name for path in (infeed.folder / "run").iterdir()] == ["论文.txt"]
