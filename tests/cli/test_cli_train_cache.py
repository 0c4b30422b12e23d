"""`infeed train --cache`: what it says, what it tells, and runs that go on or are replayed."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import fields
from typing import Any

import pytest

from infeed.cache import Counts
from infeed.trainers.run_data import RunData


@pytest.fixture
def train(infeed, leaves):
    """`infeed train` with a cache in the folder `缓存`, and with validation."""
    for folder in (leaves.train_images, leaves.validation_images):
        for path in folder.iterdir():
            os.utime(path, (1e9, 1e9))

    def run(*more: Any, out: str = "run", cache: tuple[Any, ...] = ("--cache", "缓存")):
        return infeed(
            *("train", leaves.train_manifest, "--images", leaves.train_images, *infeed.tiny),
            *("--val", leaves.validation_manifest, "--val-images", leaves.validation_images),
            *("--out", out, *cache, *more),
        )

    return run


def told(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_later_epochs_come_from_the_cache_which_both_sets_share(train, infeed):
    done = train("--epochs", "3", "--json")
    cache = told(done)["cache"]
    assert set(cache) == {"encoding", *(field.name for field in fields(Counts))}
    # One image of the training set is bad; how often its replacement is looked for varies, and it
    # may be stored for both at the same moment.
    assert (cache["encoding"], cache["not_stored"], cache["damaged"]) == ("raw", 0, 0)
    assert cache["stored"] in (39 + 15, 40 + 15)
    assert cache["hits"] >= 2 * (39 + 15)
    assert json.loads((infeed.folder / "run" / "run.json").read_text("utf-8"))["cache"] == cache
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Training "))
    assert f"; cache in {infeed.folder / '缓存'}: raw (raw images take 7.7 kB" in line
    again = train("--epochs", "1", out="again")
    assert "Cache: " in again.stdout
    assert ", 0 were stored." in again.stdout
    assert f"it holds {cache['stored']} images of this recipe so" in again.stdout


def test_the_same_weights_come_with_and_without_a_raw_cache(train, infeed):
    logs = []
    for number, cache in enumerate(((), ("--cache", "c"), ("--cache", "c"))):
        assert told(train("--epochs", "2", "--json", out=str(number), cache=cache))
        with (infeed.folder / str(number) / "log.csv").open(encoding="utf-8") as file:
            # What was measured is not what was trained.
            logs.append([(row["loss"], row["accuracy"]) for row in csv.DictReader(file)])
    assert logs[0] == logs[1] == logs[2]


def test_without_a_cache_there_is_nothing_to_tell(train):
    done = train("--epochs", "1", "--json", cache=())
    assert told(done)["cache"] is None
    assert "cache in" not in done.stderr


def test_a_run_whose_cache_keeps_jpegs_is_replayed_so(train, infeed):
    assert train("--epochs", "1", "--cache-encoding", "jpeg").returncode == 0
    assert RunData.read(infeed.folder / "run").reencoding == "jpeg"
    # What is validated went through what was trained on.
    (store,) = (path.name for path in (infeed.folder / "缓存").iterdir() if path.is_dir())
    assert store.startswith("8x8-rgb-jpeg-")
    shown = infeed("replay", "run", "--step", "1")
    assert "decode fast, through JPEG" in shown.stdout
    assert train("--epochs", "1", out="raw", cache=("--cache", "raw")).returncode == 0
    assert "through" not in infeed("replay", "raw", "--step", "1").stdout


def test_a_run_goes_on_with_its_cache_and_not_with_another_encoding(train, infeed):
    jpeg = ("--cache", "缓存", "--cache-encoding", "jpeg")
    assert train("--epochs", "1", cache=jpeg).returncode == 0
    for other in ((), ("--cache", "缓存", "--cache-encoding", "raw")):
        refused = train("--epochs", "2", "--resume", cache=other)
        assert refused.returncode == 2, refused.stderr
        assert "reencoding: saved 'jpeg', now None" in refused.stderr
        assert "--cache-encoding jpeg sends all images through JPEG" in refused.stderr
        assert "Traceback" not in refused.stderr
    # `auto` takes what the folder holds.
    resumed = told(train("--epochs", "2", "--resume", "--json"))
    assert (resumed["epochs"], resumed["resumed_at"]) == (2, 5)
    assert (resumed["cache"]["encoding"], resumed["cache"]["stored"]) == ("jpeg", 0)
    finished = told(train("--epochs", "2", "--resume", "--json"))
    assert finished["cache"] == resumed["cache"]


def test_a_run_with_a_raw_cache_goes_on_without_it(train):
    assert train("--epochs", "1").returncode == 0
    assert told(train("--epochs", "2", "--resume", "--json", cache=()))["resumed_at"] == 5


def test_a_limit_without_a_cache_is_wrong_usage(train):
    done = train(cache=("--cache-limit", "1GB"))
    assert done.returncode == 2
    assert "--cache-limit and --cache-encoding need --cache DIR" in done.stderr
