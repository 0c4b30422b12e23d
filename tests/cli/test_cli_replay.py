"""`infeed replay`: any batch of a run again, from the run's folder alone."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from infeed.trainers.run_data import RunData


@pytest.fixture(scope="module")
def run(leaves, infeed_in, tmp_path_factory):
    """A run of 2 epochs of 5 steps over 40 leaves, one of them cut off."""
    infeed = infeed_in(tmp_path_factory.mktemp("运行"))
    done = infeed(
        *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
        *("--class-names", leaves.class_names_file, "--epochs", "2", "--seed", "5", "--out", "run"),
    )
    assert done.returncode == 0, done.stderr
    return infeed


def replayed(infeed, *arguments):
    done = infeed("replay", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def refused(done, code, *texts):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr


def test_the_steps_of_an_epoch_hold_every_record_once(run):
    for steps in (range(1, 6), range(6, 11)):
        rows = [row for step in steps for row in replayed(run, "run", "--step", step)["rows"]]
        assert sorted(row["position"] for row in rows) == list(range(40))
        assert len({row["file"] for row in rows}) == 40


def test_json_tells_the_place_and_every_row(run, leaves):
    result = replayed(run, "run", "--step", "7")
    assert (result["step"], result["epoch"], result["number"]) == (7, 1, 1)
    assert (result["steps_per_epoch"], result["trained_steps"], result["seed"]) == (5, 10, 5)
    assert result["sheet"] is None
    manifest = json.loads(leaves.train_manifest.read_text("utf-8"))
    batch = RunData.read(run.folder / "run").loader().batch(1, 1)
    assert [row["position"] for row in result["rows"]] == batch.positions.tolist()
    for number, row in enumerate(result["rows"]):
        assert (row["row"], row["weight"]) == (number, 1)
        assert row["file"] == manifest[row["position"]]["image_id"]
        assert row["label"] == manifest[row["source"]]["disease_class"] == batch.labels[number]
        assert row["label_name"] == leaves.classes[row["label"]]


def test_epoch_and_batch_count_as_keras_prints_them(run):
    for step, epoch, batch in ((1, 1, 1), (5, 1, 5), (6, 2, 1), (13, 3, 3)):
        one = replayed(run, "run", "--step", step)
        assert one == replayed(run, "run", "--epoch", epoch, "--batch", batch)


def test_the_table_has_a_line_a_row_and_names_what_was_replaced(run, leaves):
    tables = [run("replay", "run", "--step", step).stdout for step in range(1, 6)]
    for step, table in enumerate(tables, 1):
        lines = table.splitlines()
        assert lines[0] == f"Step {step}: epoch 1, batch {step} of 5"
        head = lines.index(next(line for line in lines if line.split()[:2] == ["row", "record"]))
        assert [line.split()[0] for line in lines[head + 1 :]] == [str(row) for row in range(8)]
    (line,) = (line for table in tables for line in table.splitlines() if "[replaced" in line)
    assert leaves.truncated in line
    assert re.search(r"\[replaced by .+ \(record \d+\): truncated\]$", line)


def test_the_page_shows_the_batch_pixel_for_pixel(run):
    result = replayed(run, "run", "--step", "4", "-o", "页.html")
    assert result["sheet"] == "页.html"
    html = (run.folder / "页.html").read_text("utf-8")
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]
    batch = RunData.read(run.folder / "run").loader().batch(0, 3)
    assert np.array_equal(shown, batch.images)
    assert "Step 4: epoch 1, batch 4 of 5" in html
    assert str(run.folder / "run") in html
    assert not list(run.folder.glob("partial-*"))


def test_a_page_takes_the_place_of_an_older_one(run):
    (run.folder / "old.html").write_text("old", "utf-8")
    replayed(run, "run", "--step", "1", "-o", "old.html")
    assert (run.folder / "old.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_step_that_was_not_trained_is_shown_and_said_to_be_none(run):
    for step, is_said in ((10, False), (11, True), (10**12, True)):
        done = run("replay", "run", "--step", step)
        assert done.returncode == 0, done.stderr
        assert ("not trained: the run ended after 10 steps\n" in done.stdout) == is_said


def test_a_run_that_was_interrupted_can_be_replayed(run):
    shutil.copytree(run.folder / "run", run.folder / "interrupted")
    (run.folder / "interrupted" / "run.json").unlink()
    (run.folder / "interrupted" / "model.keras").unlink()
    result = replayed(run, "interrupted", "--step", "11")
    assert result["trained_steps"] is None
    assert result["rows"] == replayed(run, "run", "--step", "11")["rows"]


def test_a_run_over_class_folders_can_be_replayed_and_moved(infeed, leaves):
    for row in json.loads(leaves.train_manifest.read_text("utf-8"))[:12]:
        home = infeed.folder / "set" / f"类 {row['disease_class'] % 2}"
        home.mkdir(exist_ok=True, parents=True)
        shutil.copy(leaves.train_images / row["image_id"], home)
    assert infeed("train", "set", *infeed.tiny, "--epochs", "1", "--out", "run").returncode == 0
    rows = replayed(infeed, "run", "--step", "2")["rows"]
    assert {row["file"].split("/")[0] for row in rows} <= {"类 0", "类 1"}
    (infeed.folder / "set").rename(infeed.folder / "moved")
    refused(infeed("replay", "run", "--step", "2"), 3, "there is no such file", "--manifest")
    assert replayed(infeed, "run", "--step", "2", "--images", "moved")["rows"] == rows


def test_hostile_names_are_harmless_in_table_and_page(infeed, leaves):
    names = [b"\xff\x1b[2J.jpg", b"<script>'\".jpg", b"new\nline.jpg"]
    source = leaves.train_images / leaves.duplicate[0]
    for folder in (b"a", b"b <i>\xfe"):
        (infeed.folder / os.fsdecode(folder)).mkdir()
        home = infeed.folder / "set" / os.fsdecode(folder)
        home.mkdir(parents=True)
        for name in names:
            shutil.copy(source, home / os.fsdecode(name))
    done = infeed("train", "set", *infeed.tiny, "--epochs", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    done = infeed("replay", "run", "--step", "1", "-o", "sheet.html")
    assert done.returncode == 0, done.stderr
    html = (infeed.folder / "sheet.html").read_text("utf-8")
    for text in (done.stdout, html):
        assert "\\udcff\\x1b[2J.jpg" in text
        assert "new\\nline.jpg" in text
        assert "\x1b" not in text
    assert "<script" not in html
    assert "b <i>\\udcfe" in done.stdout
    files = {row["file"] for row in replayed(infeed, "run", "--step", "1")["rows"]}
    assert len(files) == 6
    assert {os.fsencode(file).split(b"/")[1] for file in files} == set(names)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--step", "0"], "--step"),
        (["--step", "-3"], "--step"),
        (["--epoch", "0", "--batch", "1"], "--epoch"),
        ([], "either --step N, or --epoch E and --batch B"),
        (["--epoch", "2"], "either --step N, or --epoch E and --batch B"),
        (["--step", "1", "--batch", "2"], "either --step N, or --epoch E and --batch B"),
        (["--epoch", "1", "--batch", "6"], "--batch must be in 1..5"),
    ],
)
def test_a_step_that_cannot_be_is_wrong_usage(run, arguments, text):
    refused(run("replay", "run", *arguments), 2, text)


def test_what_is_no_run_is_told_from_an_old_run(run, infeed):
    refused(infeed("replay", "gone", "--step", "1"), 2, "'gone' does not exist")
    refused(infeed("replay", ".", "--step", "1"), 1, ". is not the folder of a run")
    shutil.copytree(run.folder / "run", infeed.folder / "old")
    (infeed.folder / "old" / "data.json").unlink()
    refused(infeed("replay", "old", "--step", "1"), 1, "made before infeed wrote that file")


@pytest.mark.parametrize(
    ("out", "text"),
    [("no/sheet.html", "no is no folder. Make it"), ("pipe.html", "pipe.html is no plain file")],
)
def test_a_page_that_cannot_be_written_is_refused_at_once(run, infeed, out, text):
    os.mkfifo(infeed.folder / "pipe.html")
    refused(infeed("replay", run.folder / "run", "--step", "1", "-o", out), 1, text)


def test_a_set_that_moved_is_found_by_options(run, infeed, leaves):
    shutil.copytree(run.folder / "run", infeed.folder / "run")
    path = infeed.folder / "run" / "data.json"
    value = json.loads(path.read_text("utf-8"))
    value["source"] |= {"path": "/gone/train.json", "images": "/gone/images"}
    path.write_text(json.dumps(value), "utf-8")
    images = ("--images", leaves.train_images)
    refused(infeed("replay", "run", "--step", "3"), 3, "/gone", "40 records", "--manifest")
    refused(infeed("replay", "run", "--step", "3", *images), 3, "there is no such file")
    moved = ("--manifest", leaves.train_manifest, *images)
    assert (
        replayed(infeed, "run", "--step", "3", *moved)["rows"]
        == replayed(run, "run", "--step", "3")["rows"]
    )


def test_images_that_are_elsewhere_end_with_3_and_the_option(run):
    done = run("replay", "run", "--step", "1", "--images", ".")
    refused(done, 3, "all that were tried are bad too", "if they are elsewhere now, pass --images")


def test_a_manifest_that_changed_is_refused_with_what_changed(infeed, leaves):
    rows = json.loads(leaves.train_manifest.read_text("utf-8"))
    manifest = infeed.folder / "train.json"
    manifest.write_text(json.dumps(rows), "utf-8")
    images = ("--images", leaves.train_images)
    done = infeed("train", manifest, *images, *infeed.tiny, "--epochs", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    manifest.write_text(json.dumps(rows[:-1]), "utf-8")
    done = infeed("replay", "run", "--step", "1")
    refused(done, 3, str(manifest), "it had 40 records", "has 39 now", "--manifest")


def test_replay_imports_no_framework(run):
    code = (
        "import sys; from infeed.cli.main import run; code = run(sys.argv[1:]); "
        "print(code, sorted({'keras', 'jax', 'torch', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", "run", "--step", "2", "-o", "quick.html"],
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_without_jinja2_the_table_comes_and_the_page_ends_with_1(run):
    code = (
        "import sys; sys.modules['jinja2'] = None; from infeed.cli.main import run; "
        "sys.exit(run(sys.argv[1:]))"
    )

    def without(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, "replay", "run", "--step", "2", *arguments],
            cwd=run.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    assert without().returncode == 0
    refused(without("-o", "never.html"), 1, "pip install 'infeed[report]'")
    assert not (run.folder / "never.html").exists()
