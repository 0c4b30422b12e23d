"""`infeed train --resume`: goes on where an interrupted run was, or says why not."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

STEPS = 5  # of an epoch: 40 leaves, 8 a batch
MEASURED = {"data_wait_ms", "images_per_second", "cache_hit_rate", "bad_images"}


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


def log_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's log, but for what was measured: no two runs take the same time."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in MEASURED}
            for row in csv.DictReader(file)
        ]


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(infeed, train):
    result_of(infeed(*train("--epochs", "3", "--json", out="whole")))
    killed(infeed, train("--epochs", "3"), after="Epoch 1/")
    resumed = infeed(*train("--epochs", "3", "--json", "--resume"))
    result = result_of(resumed)
    assert "Resuming the run in run." in resumed.stderr
    assert result["resumed_at"] >= 1
    assert (result["epochs"], result["steps"], result["images_seen"]) == (3, 3 * STEPS, 120)
    assert log_of(infeed.folder / "run") == log_of(infeed.folder / "whole")
    assert {path.name for path in (infeed.folder / "run").iterdir()} == {
        path.name for path in (infeed.folder / "whole").iterdir()
    }


def test_bad_images_of_the_validation_are_part_of_the_whole_run(infeed, train, leaves):
    images = infeed.folder / "验证"
    shutil.copytree(leaves.validation_images, images)
    next(image for image in sorted(images.rglob("*")) if image.is_file()).write_bytes(b"no image")
    arguments = ("--val-images", images, "--max-bad", "0.5", "--json")
    whole = result_of(infeed(*train("--epochs", "2", *arguments)))
    assert whole["bad_images"] == 2  # one of the leaves to train on is bad, too
    again = result_of(infeed(*train("--epochs", "2", *arguments, "--resume")))  # validates nothing
    assert again["bad_images"] == 2
    more = result_of(infeed(*train("--epochs", "3", *arguments, "--resume")))
    straight = result_of(infeed(*train("--epochs", "3", *arguments, out="straight")))
    assert (more["bad_images"], more["val_loss"]) == (2, straight["val_loss"])
    lines = (infeed.folder / "run" / "val_bad_images.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 1


def test_resume_without_anything_to_resume_begins_and_says_so(infeed, train):
    done = infeed(*train("--epochs", "1", "--resume"))
    assert done.returncode == 0, done.stderr
    assert "There is no backup in run: starting at the beginning." in done.stdout
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
    assert set(again) == set(first)
    assert {**again, "trained_now": 2 * STEPS} == first
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
    assert done.returncode == 2
    assert "--seed: saved 0, now 9\n" in done.stderr
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


def test_a_folder_that_is_no_run_is_not_resumed_and_not_touched(infeed, train):
    (infeed.folder / "run").mkdir()
    (infeed.folder / "run" / "data.json").write_text('{"mine": 1}')
    done = infeed(*train("--epochs", "1", "--resume"))
    assert done.returncode == 1
    assert (
        "run holds something, but no run of infeed: no data.json that infeed wrote" in done.stderr
    )
    assert (infeed.folder / "run" / "data.json").read_text() == '{"mine": 1}'


def test_other_files_in_the_folder_of_a_run_do_not_matter(infeed, train):
    result_of(infeed(*train("--epochs", "1", "--json")))
    (infeed.folder / "run" / "笔记.txt").write_text("mine")
    (infeed.folder / "run" / "partial-1-model.keras").write_text("of a run that was killed")
    result_of(infeed(*train("--epochs", "2", "--resume", "--json")))
    assert (infeed.folder / "run" / "笔记.txt").read_text() == "mine"
    assert not (infeed.folder / "run" / "partial-1-model.keras").exists()


def test_a_finished_run_without_its_backup_is_not_begun_again_over_its_model(infeed, train):
    result_of(infeed(*train("--epochs", "1", "--json")))
    shutil.rmtree(infeed.folder / "run" / "backup")
    model = (infeed.folder / "run" / "model.keras").read_bytes()
    done = infeed(*train("--epochs", "2", "--resume"))
    assert done.returncode == 1
    assert (
        "has trained 1 epoch. Its backup is gone, so that it cannot be trained on." in done.stderr
    )
    assert (infeed.folder / "run" / "model.keras").read_bytes() == model


def test_a_run_that_moved_can_be_replayed_after_it_was_resumed(infeed, train, leaves):
    result_of(infeed(*train("--epochs", "1", "--json")))
    for name in ("data.json", "class_names.json", "recipe.json"):
        (infeed.folder / "run" / name).unlink()
    result_of(infeed(*train("--epochs", "2", "--resume", "--json")))
    done = infeed("replay", "run", "--step", 2 * STEPS, "--json")
    assert len(result_of(done)["rows"]) == 8
    assert json.loads(done.stdout)["trained_steps"] == 2 * STEPS


def test_bad_images_are_counted_over_the_interruption(infeed, train):
    first = result_of(infeed(*train("--epochs", "1", "--json")))
    assert first["bad_images"] == 1
    (infeed.folder / "run" / "run.json").unlink()  # as if killed just before
    again = result_of(infeed(*train("--epochs", "1", "--resume", "--json")))
    assert again["bad_images"] == 1
    assert again["steps"] == STEPS
    assert again["trained_now"] == 0


def test_two_commands_do_not_train_into_one_run(infeed, train):
    first = infeed.start(*train("--epochs", "1000000"))
    for line in first.stdout:
        if line.startswith("Epoch 1/"):
            break
    done = infeed(*train("--epochs", "1000000", "--resume"))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert done.returncode == 1
    assert "Another process is training into run. Wait for it" in done.stderr
