"""`infeed train` and `infeed demo`: the run, its words, its JSON, its folder."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import pytest

from infeed.trainers.run_folder import RUN_FILES

KEYS = {
    "epochs",
    "steps",
    "images_seen",
    "images_per_second",
    "data_wait_fraction",
    "bad_images",
    "verdict",
    "peak_rss_mb",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
}


@pytest.fixture(scope="module")
def folder_and_manifest(leaves, tmp_path_factory):
    """The same leaves in class folders, and in a manifest with the same names and order."""
    folder = tmp_path_factory.mktemp("文件夹")
    for row in json.loads(leaves.train_manifest.read_text("utf-8")):
        home = folder / f"类 {row['disease_class']}"
        home.mkdir(exist_ok=True)
        shutil.copy(leaves.train_images / row["image_id"], home)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    rows = [{"image_id": name, "disease_class": name.split("/")[0]} for name in names]
    manifest = tmp_path_factory.mktemp("清单") / "train.json"
    manifest.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return folder, manifest


@pytest.fixture(scope="module")
def runs(folder_and_manifest, leaves, infeed_in, tmp_path_factory):
    """The same training from a manifest and from folders: two finished commands, both JSON."""
    folder, manifest = folder_and_manifest
    infeed = infeed_in(tmp_path_factory.mktemp("runs"))
    common = (*infeed.tiny, "--val", folder, "--epochs", "2", "--seed", "5", "--json")
    return infeed, [
        infeed("train", manifest, "--images", folder, *common, "--out", "运行/manifest"),
        infeed("train", folder, *common, "-q", "--out", "运行/folder"),
    ]


def test_json_is_one_object_on_stdout_with_the_promised_keys(runs, leaves):
    _, (done, _) = runs
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert set(result) >= KEYS
    assert (result["epochs"], result["steps"], result["images_seen"]) == (2, 10, 80)
    assert result["bad_images"] == 2  # the same truncated file, in training and in validation
    assert result["out"] == "运行/manifest"


def test_progress_goes_to_stderr_a_line_an_epoch(runs, leaves):
    _, (done, _) = runs
    lines = done.stderr.splitlines()
    assert any(line.startswith("Training ") and "40 images of 6 classes" in line for line in lines)
    for epoch in ("Epoch 1/2  ", "Epoch 2/2  "):
        (line,) = (line for line in lines if line.startswith(epoch))
        assert "val_loss" in line
        assert "images_per_second" not in line
    assert any(
        line.startswith(("The model is the limit: ", "Input holds training back: "))
        for line in lines
    )
    assert sum(leaves.truncated in line for line in lines) == 2


def test_quiet_says_nothing_but_the_result(runs):
    _, (_, done) = runs
    assert done.returncode == 0
    assert done.stderr == ""


def test_class_folders_train_as_the_manifest_of_the_same_images_does(runs):
    _, finished = runs
    results = [json.loads(done.stdout) for done in finished]
    measured = ("loss", "accuracy", "val_loss", "val_accuracy", "images_seen", "steps")
    one, other = ([result[name] for name in measured] for result in results)
    assert one == other


def test_the_run_folder_holds_the_files_of_a_run_and_no_others(runs):
    infeed, _ = runs
    for out in ("运行/manifest", "运行/folder"):
        assert sorted(path.name for path in (infeed.folder / out).iterdir()) == sorted(
            [*RUN_FILES, "backup", "bad_images.jsonl", "val_bad_images.jsonl"]
        )
    assert [path.name for path in infeed.folder.iterdir()] == ["运行"]


def test_words_for_people_tell_what_was_done_and_where_it_is(infeed, leaves):
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
        *("--epochs", "1", "--model", f"{infeed.model}:not_a_number"),
    )
    assert done.returncode == 0, done.stderr
    assert "Trained 1 epoch, 40 images in " in done.stdout
    assert "At the end: loss nan." in done.stdout
    assert "Bad images: 1 (1 truncated), replaced" in done.stdout
    assert done.stdout.endswith("Model, class names, recipe and log are in run-1\n")
    assert "NaN" not in (infeed.folder / "run-1" / "run.json").read_text("utf-8")


def refused(done, code, text):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert text in done.stderr


def test_a_folder_that_holds_something_is_not_touched_and_ends_with_1(infeed, leaves):
    (infeed.folder / "mine.txt").write_text("keep", "utf-8")
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images),
        *("--out", ".", *infeed.tiny),
    )
    refused(done, 1, ". holds something already. Pass another --out")
    assert [path.name for path in infeed.folder.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_ends_with_1(infeed, leaves):
    (infeed.folder / "file").write_text("", "utf-8")
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images),
        *("--out", "file/run", *infeed.tiny),
    )
    refused(done, 1, "file is a file, not a folder. Pass another --out.")


def test_a_model_that_does_not_exist_ends_with_2_and_leaves_no_folder(infeed, leaves):
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images, "--model", "big")
    )
    refused(done, 2, "There is no model 'big'. Pass 'small', module:function, or one of")
    assert list(infeed.folder.iterdir()) == []


def test_a_mistake_in_the_users_model_ends_with_1_and_points_to_debug(infeed, leaves):
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images),
        *("--model", f"{infeed.model}:broken"),
    )
    refused(
        done, 1, "broken: TypeError: the author's mistake. Run again with --debug to see where."
    )
    assert not list(infeed.folder.glob("run-*"))


def test_images_that_are_all_missing_end_with_3(infeed, leaves):
    done = infeed("train", leaves.train_manifest, "--images", ".", *infeed.tiny, "--out", "run")
    refused(done, 3, "bad images, and max_bad allows 2")
    assert not list(infeed.folder.glob("**/partial-*"))
    # The list of them is all that is left, and is no obstacle to another try.
    assert [path.name for path in (infeed.folder / "run").iterdir()] == ["bad_images.jsonl"]
    journal = infeed.folder / "run" / "bad_images.jsonl"
    listed = map(json.loads, journal.read_text("utf-8").splitlines())
    assert {line["reason"] for line in listed} == {"missing"}
    assert f"All of them are listed in {journal}." in done.stderr
    again = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images),
        *(*infeed.tiny, "--epochs", "1", "--out", "run"),
    )
    assert again.returncode == 0, again.stderr


def test_bad_images_are_listed_in_the_folder_of_the_run_and_summed_up(runs, leaves):
    infeed, (done, _) = runs
    result = json.loads(done.stdout)
    assert result["bad_reasons"] == {"truncated": 2}
    for name in ("bad_images.jsonl", "val_bad_images.jsonl"):
        (line,) = (infeed.folder / result["out"] / name).read_text("utf-8").splitlines()
        assert json.loads(line)["reason"] == "truncated"
        assert json.loads(line)["uri"].endswith(leaves.truncated)


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed here")
def test_a_missing_back_end_ends_with_1_and_the_command_that_installs_it(infeed, leaves):
    done = infeed("train", leaves.train_manifest, KERAS_BACKEND="tensorflow")
    refused(done, 1, "pip install 'infeed[tensorflow]'")


def test_an_images_folder_beside_class_folders_is_wrong_usage(infeed, leaves):
    done = infeed("train", leaves.train_images, "--images", leaves.train_images)
    refused(done, 2, "is a folder, so it holds its images itself")


def test_the_demo_draws_a_set_and_trains_on_it(infeed):
    done = infeed(
        *("demo", "--folder", "演示", "--train", "20", "--val", "10", "--epochs", "1", "--json")
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= KEYS
    made = {path.name for path in (infeed.folder / "演示").iterdir()}
    assert made == {"leaves", "run-1"}
    assert "one is cut off" in done.stderr
