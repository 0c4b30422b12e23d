"""`infeed bench`, and with it what all commands share: codes, JSON, errors, names."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

JPEG = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()
SMALL = ("--size", "16", "--batch", "8", "--epochs", "1")


@pytest.fixture
def of_leaves(leaves):
    return ("bench", leaves.train_manifest, "--images", leaves.train_images, *SMALL)


def age(folder):
    """Lets the images be old enough to be kept."""
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def refused(done, code, *texts):
    """Whether the command said these, in words, and ended with that code."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr


def test_words_for_people_tell_every_epoch_and_the_ratio(infeed, of_leaves):
    done = infeed(*of_leaves, "--epochs", "2")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("40 images, 16x16, ")
    head = next(n for n, line in enumerate(lines) if line.split()[:2] == ["epoch", "images"])
    assert [lines[head + n].split()[:2] for n in (1, 2)] == [["1", "40"], ["2", "40"]]
    assert "Ratio: " in done.stdout
    assert lines[-1] == "Replaced: 1 bad image"
    assert done.stderr == ""


def test_json_is_one_object_on_stdout_and_progress_on_stderr(infeed, of_leaves, leaves):
    done = infeed(*of_leaves, "--json")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert {"epochs", "stages", "limit_images_per_second", "peak_rss_mb", "ratio"} <= set(result)
    (epoch,) = result["epochs"]
    assert {"epoch", "images", "seconds", "images_per_second", "source"} <= set(epoch)
    assert (epoch["epoch"], epoch["images"], epoch["source"]) == (0, 40, "decoded")
    assert result["bad_images"] == 1
    assert done.stderr.startswith("40 images, 16x16, ")
    assert leaves.truncated in done.stderr


def test_a_cache_is_said_and_its_epochs_are_told_apart(infeed, of_leaves, leaves):
    age(leaves.train_images)
    cached = (*of_leaves, "--epochs", "2", "--cache", "缓存", "--cache-limit", "1GB")
    result = json.loads(infeed(*cached, "--json").stdout)
    assert [epoch["source"] for epoch in result["epochs"]] == ["decoded", "cache"]
    cache = result["cache"]
    assert (cache["encoding"], cache["damaged"], cache["not_stored"]) == ("raw", 0, 0)
    # One of 40 is bad; what replaces it may be stored for both at the same moment.
    assert cache["stored"] in (39, 40)
    assert cache["hits"] >= 39
    assert result["ratio"] > 0
    done = infeed(*cached)
    held = f"缓存: raw (it holds {cache['stored']} images of this recipe so)"
    assert held in done.stdout.splitlines()[0]
    assert "No epoch was decoded, so that there is no ratio." in done.stdout
    assert "From the cache: " in done.stdout
    result = json.loads(infeed(*of_leaves, "--json").stdout)
    assert (result["cache"], result["cached_images_per_second"]) == (None, None)


def test_shares_of_thread_time_add_up_to_all_of_it(infeed, of_leaves):
    said = infeed(*of_leaves, "--epochs", "2").stdout.splitlines()
    begin = next(n for n, line in enumerate(said) if line.startswith("thread time"))
    end = next(n for n, line in enumerate(said) if line.startswith("Reader, decoded: "))
    shares = [float(line.split()[-2].rstrip("%")) for line in said[begin + 2 : end]]
    # Each is rounded to a tenth; what is less than half of one is left out.
    assert sum(shares) == pytest.approx(100, abs=1.5)
    result = json.loads(infeed(*of_leaves, "--json").stdout)
    (epoch,) = result["epochs"]
    assert sum(epoch["stages"].values()) == pytest.approx(result["threads"] * epoch["seconds"])
    assert result["stages"] == epoch["stages"]


def test_cold_epochs_are_told_from_warm_ones(infeed, of_leaves):
    done = infeed(*of_leaves, "--epochs", "2", "--cold", "--json")
    result = json.loads(done.stdout)
    assert [epoch["is_cold"] for epoch in result["epochs"]] == [True, False]
    assert result["decoded_images_per_second"] == result["epochs"][1]["images_per_second"]
    said = infeed(*of_leaves, "--epochs", "2", "--cold").stdout
    assert "given up" in said
    # On a file system that lives in memory it says why not.
    assert "Files not in memory: " in said or "Cold epochs: " in said


def test_an_earlier_run_is_shown_beside_the_new_one(infeed, of_leaves):
    write(infeed.folder / "früher.json", infeed(*of_leaves, "--json").stdout)
    done = infeed(*of_leaves, "--compare", "früher.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("früher.json"))
    assert lines[head].split()[1:] == ["then", "now", "now/then"]
    assert lines[head + 1].startswith("decoded, images/s ")
    assert "two different things" not in done.stdout
    other = infeed(*of_leaves, "--size", "8", "--compare", "früher.json", "--json")
    compared = json.loads(other.stdout)["compared"]
    assert compared["file"] == "früher.json"
    assert {"name", "unit", "then", "now", "ratio"} == set(compared["figures"][0])
    assert "the setting recipe.height was 16 and is 8" in compared["differences"]


def test_an_earlier_run_that_is_none_is_refused_before_anything_is_measured(infeed, of_leaves):
    write(infeed.folder / "other.json", '{"epochs": []}')
    for options in (["--compare", "other.json"], ["--compare", "gone.json"], ["--compare", "."]):
        done = infeed(*of_leaves, *options)
        refused(done, 2, options[1])
        assert "40 images" not in done.stderr


@pytest.mark.slow  # each run of training steps takes its second
def test_steps_of_fit_are_measured_both_ways(infeed, of_leaves):
    done = infeed(*of_leaves, "--fit", infeed.tiny[1], "--json")
    assert done.returncode == 0, done.stderr
    fit = json.loads(done.stdout)["fit"]
    assert fit["backend"] == "jax"
    assert fit["ratio"] > 0
    assert fit["fed_step_ms"] > 0
    assert 0 <= fit["wait_fraction"] <= 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--fit", "no_such_model"], 2, "There is no model 'no_such_model'"),
        (["--fit", "small", "--label-column", "gone"], 3, "gone"),
        (["--label-column", "disease_class"], 2, "--label-column is for --fit"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_before_anything_is_measured(
    infeed, of_leaves, options, code, said
):
    done = infeed(*of_leaves, *options)
    refused(done, code, said)
    assert "40 images" not in done.stderr


def test_without_a_back_end_fit_names_the_cure(infeed, of_leaves):
    done = infeed(*of_leaves, "--fit", "small", KERAS_BACKEND="theano")
    refused(done, 1, "KERAS_BACKEND is 'theano'", "unset it")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cache-limit", "1GB"], "--cache-limit and --cache-encoding need --cache DIR"),
        (["--cache-encoding", "raw"], "--cache-limit and --cache-encoding need --cache DIR"),
        (["--cache", "c", "--cache-limit", "big"], "--cache-limit: a size is a number of bytes"),
        (["--cache", "c", "--cache-encoding", "png"], "--cache-encoding"),
        (["--cache", "file.txt"], "file.txt"),
    ],
)
def test_cache_options_that_cannot_be_end_with_2_in_words(infeed, of_leaves, options, said):
    write(infeed.folder / "file.txt", "a file")
    refused(infeed(*of_leaves, *options), 2, said)


def test_quiet_prints_the_result_alone(infeed, of_leaves):
    done = infeed(*of_leaves, "-q", "--json")
    assert json.loads(done.stdout)["epochs"][0]["images"] == 40
    assert done.stderr == ""
    assert infeed(*of_leaves, "-q").stdout.splitlines()[0].split()[:2] == ["epoch", "images"]


def test_the_images_folder_is_by_default_that_of_the_manifest(infeed):
    (infeed.folder / "叶.jpg").write_bytes(JPEG)
    write(infeed.folder / "清单.json", '[{"image": "叶.jpg", "label": 1}]')
    done = infeed("bench", "清单.json", *SMALL, "--json")
    assert json.loads(done.stdout)["epochs"][0]["images"] == 1


def test_a_folder_of_images_is_taken_as_it_is(infeed, leaves):
    done = infeed("bench", leaves.train_images, *SMALL, "--json")
    assert json.loads(done.stdout)["epochs"][0]["images"] == 40


def test_names_that_are_no_text_are_read_and_shown(infeed):
    folder = infeed.folder / os.fsdecode(b"\xe4 folder")
    folder.mkdir()
    for name, data in {b"\xff.jpg": JPEG, b"a.jpg": JPEG, b"bad \xfe\x1b[2J.jpg": b"text"}.items():
        (folder / os.fsdecode(name)).write_bytes(data)
    done = infeed("bench", folder, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "Replaced: 1 bad image" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_terminal_that_lacks_the_letters_is_no_reason_to_stop(infeed):
    for name, data in {"叶.jpg": JPEG, "坏.jpg": b"text"}.items():
        (infeed.folder / name).write_bytes(data)
    done = infeed("bench", infeed.folder, *SMALL, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert r"\u574f.jpg" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["bench", "gone.json"], "gone.json"),
        (["bench"], "Missing argument 'MANIFEST'"),
        (["bench", ".", "--nonsense"], "--nonsense"),
        (["bench", ".", "--size", "0"], "--size"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_wrong_usage_ends_with_2(infeed, arguments, text):
    refused(infeed(*arguments), 2, "Usage: infeed", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "m.json"),
        ("[{", "m.json"),
        ("", "m.json"),
        ('[{"image": "a.jpg"}, {"label": 3}]', "m.json"),
    ],
)
def test_a_manifest_that_cannot_be_used_ends_with_3(infeed, text, said):
    write(infeed.folder / "m.json", text)
    refused(infeed("bench", "m.json"), 3, "infeed: ", said)


def test_a_missing_image_folder_ends_with_3(infeed, leaves):
    refused(infeed("bench", leaves.train_manifest, "--images", "gone"), 3, "'gone'")


def test_images_that_are_all_missing_end_with_3_and_an_example(infeed, leaves):
    done = infeed("bench", leaves.train_manifest, "--images", ".", *SMALL, "-q")
    refused(done, 3, "bad images, and max_bad allows 2", " missing", "record ", ".jpg")


def test_one_missing_image_is_named_and_replaced(infeed):
    (infeed.folder / "a.jpg").write_bytes(JPEG)
    write(infeed.folder / "m.csv", "image,label\na.jpg,1\n没有.jpg,1\n")
    done = infeed("bench", "m.csv", *SMALL, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["bad_images"] == 1
    assert "没有.jpg" in done.stderr


def test_debug_shows_where_an_error_came_from(infeed):
    write(infeed.folder / "m.json", "[]")
    done = infeed("bench", "m.json", "--debug")
    assert done.returncode == 3
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("infeed: ")


def test_a_reader_that_has_seen_enough_gets_no_traceback(infeed, of_leaves):
    process = infeed.start(*of_leaves)
    with process:
        assert process.stdout.readline().startswith("40 images")
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert said == ""
