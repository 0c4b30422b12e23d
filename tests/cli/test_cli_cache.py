"""`infeed cache`: fill, verify, info, clear."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from infeed.cache.folder import segment_paths
from infeed.cache.format import HEADER_BYTES
from infeed.demo import draw_set

COUNT = 40  # leaves, one of them cut off


@pytest.fixture(scope="module")
def old_leaves(tmp_path_factory):
    """Leaves that were drawn long before the cache."""
    leaves = draw_set(
        tmp_path_factory.mktemp("病害") / "leaves", train=COUNT, validation=15, size=64
    )
    for path in leaves.folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    return leaves


@pytest.fixture
def fill(infeed, old_leaves):
    """`infeed cache fill` into the folder `缓存`."""
    arguments = ("cache", "fill", old_leaves.train_manifest, "--images", old_leaves.train_images)

    def run(*more, size=16, **environment):
        return infeed(*arguments, "--size", size, "--cache", "缓存", *more, **environment)

    return run


@pytest.fixture
def folder(infeed):
    return infeed.folder / "缓存"


def told(done, code=0):
    assert done.returncode == code, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def refused(done, code, *texts):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr


def store_in(folder: Path) -> Path:
    (store,) = (path for path in folder.iterdir() if path.is_dir())
    return store


def spoil(folder: Path) -> Path:
    """Flips a bit of the first image of a segment."""
    path = segment_paths(store_in(folder))[0]
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    return path


def test_fill_stores_every_image_and_says_what_it_did(fill, old_leaves):
    done = fill()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{COUNT} images, 16x16, ")
    assert "缓存: raw (raw images take 30.7 kB, which fit" in lines[0]
    assert any(old_leaves.truncated in line for line in lines)
    assert f"{COUNT} images: 39 stored, 0 there already, 1 bad." in lines
    assert lines[-1].endswith(" images/s. The cache has 38.1 kB.")
    assert done.stderr == ""


def test_fill_tells_its_counts_as_json(fill, folder):
    result = told(fill("--json"))
    counts = {name: result[name] for name in ("stored", "there", "not_stored", "recovered", "bad")}
    assert counts == {"stored": 39, "there": 0, "not_stored": 0, "recovered": 0, "bad": 1}
    assert (result["records"], result["encoding"], result["complaints"]) == (COUNT, "raw", {})
    assert result["bytes"] == sum(path.stat().st_size for path in folder.glob("*/*.seg"))
    assert result["images_per_second"] > 0
    again = told(fill("--json"))
    assert (again["stored"], again["there"], again["bad"]) == (0, 39, 1)


def test_what_fill_has_stored_is_what_bench_and_train_find(fill, infeed, old_leaves):
    told(fill("--json", size=8))
    common = ("--images", old_leaves.train_images, "--size", "8", "--batch", "8", "--json")
    cached = ("--cache", "缓存", "--epochs", "1")
    bench = told(infeed("bench", old_leaves.train_manifest, *common, *cached))
    assert [epoch["source"] for epoch in bench["epochs"]] == ["cache"]
    model = ("--model", f"{infeed.model}:tiny", "--out", "run")
    train = told(infeed("train", old_leaves.train_manifest, *common, *cached, *model))
    assert train["cache"]["stored"] == 0
    assert train["cache"]["hits"] >= 39


def test_a_folder_of_class_folders_is_filled_for_training(infeed, old_leaves):
    for row in json.loads(old_leaves.train_manifest.read_text("utf-8")):
        home = infeed.folder / "类" / str(row["disease_class"])
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy2(old_leaves.train_images / row["image_id"], home)
    filled = told(infeed("cache", "fill", "类", "--cache", "c", "--size", "8", "--json"))
    assert filled["stored"] == 39
    options = (*infeed.tiny, "--cache", "c", "--epochs", "1", "--out", "run", "--json")
    cache = told(infeed("train", "类", *options))["cache"]
    assert cache["stored"] == 0
    assert cache["hits"] >= 39


def test_fill_that_is_interrupted_goes_on_where_it_was(infeed, old_leaves, folder):
    """Ctrl-C in the middle, and the same command again."""
    images = infeed.folder / "many"
    images.mkdir()
    names = sorted(old_leaves.train_images.iterdir())
    for number in range(4000):
        os.link(names[number % COUNT], images / f"{number}.jpg")
    command = ("cache", "fill", images, "--size", "224", "--cache", folder, "--max-bad", "0.5")
    process = infeed.start(*command)
    # Its first words come before its first image.
    assert process.stdout.readline().startswith("4,000 images")
    while not any(folder.glob("*/[0-9a-f]*.seg")):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "The same command goes on from there." in out
    assert said.splitlines()[-1:] == ["infeed: interrupted"]
    assert "Traceback" not in said
    # What was reserved and not used is given back.
    info = told(infeed("cache", "info", folder, "--json"))
    assert info["images"] < 3900
    result = told(infeed(*command, "--json", "-q"))
    assert (result["there"], result["not_stored"]) == (info["images"], 0)
    assert result["there"] + result["stored"] == 3900
    assert infeed("cache", "verify", folder, "-q").returncode == 0


def test_fill_ends_at_the_limit_and_says_so(fill):
    result = told(fill("--json", "--cache-limit", "17000", "-q"))
    assert result["stored"] > 0
    assert result["not_stored"] + result["not_seen"] == 39 - result["stored"]
    assert result["not_stored"] > 0
    assert list(result["complaints"]) == ["limit"]
    done = fill("-q", "--cache-limit", "17000")
    assert done.returncode == 0
    assert f"{COUNT} images: 0 stored, " in done.stdout
    assert " not stored" in done.stdout
    assert "and the limit is 17.0 kB. Raise it, or clear the cache. What it does" in done.stdout


def test_fill_ends_with_1_where_nothing_can_be_stored(fill, folder):
    folder.mkdir()
    (folder / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    done = fill()
    assert done.returncode == 1
    assert done.stdout.count("takes no more images") == 1
    assert "has format version 99, and this infeed reads 1" in done.stdout
    assert f"{COUNT} images: 0 stored, 0 there already, " in done.stdout
    assert [path.name for path in folder.iterdir()] == ["infeed-cache.json"]


def test_fill_that_others_are_in_the_way_of_says_so(fill, folder):
    told(fill("--json", size=8))
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = told(fill("--json"))
        done = fill("-q")
    assert (result["not_stored"], result["bad"], result["complaints"]) == (39, 1, {})
    assert done.returncode == 0
    assert ", 39 not stored, 1 bad." in done.stdout
    assert "or another process was in the way: the same command stores it." in done.stdout
    assert told(fill("--json"))["stored"] == 39


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["."], 2, "Missing option '--cache'"),
        (["gone.json", "--cache", "c"], 2, "gone.json"),
        ([".", "--cache", "file.txt"], 2, "'file.txt' is a file"),
        ([".", "--cache", "c", "--cache-limit", "-3"], 2, "--cache-limit: a size is a number"),
        ([".", "--cache", "c", "--max-bad", "few"], 2, "--max-bad must be a count"),
        ([".", "--cache", "c"], 3, "no image"),
    ],
)
def test_fill_refuses_what_cannot_be_in_words(infeed, arguments, code, said):
    (infeed.folder / "file.txt").write_text("a file", "utf-8")
    refused(infeed("cache", "fill", *arguments), code, said)
    assert not (infeed.folder / "c").exists()


def test_too_many_bad_images_end_fill_with_3(fill):
    refused(fill("--max-bad", "0", "-q"), 3, "1 bad image, and max_bad allows 0", "--max-bad")


def test_verify_says_that_all_is_right(fill, infeed):
    told(fill("--json"))
    done = infeed("cache", "verify", "缓存")
    assert done.returncode == 0
    assert "39 images, 30.0 kB, in 1 segment: all right" in done.stdout
    result = told(infeed("cache", "verify", "缓存", "--json"))
    assert (result["is_right"], result["images"], result["damaged"]) == (True, 39, 0)
    (store,) = result["stores"]
    assert (store["images"], store["files"], store["is_right"]) == (39, [], True)


def test_verify_ends_with_3_names_the_damage_and_repairs_it(fill, infeed, folder):
    told(fill("--json"))
    spoil(folder)
    dead = store_in(folder) / f"{1:032x}.seg"
    dead.touch()
    done = infeed("cache", "verify", "缓存", "--no-repair")
    assert done.returncode == 3
    assert "DAMAGED" in done.stdout
    assert "1 image not what was stored: 0 given back, to be stored again, 1 left" in done.stdout
    assert f"{dead.name}: it has no header (left as it is)" in done.stdout
    result = told(infeed("cache", "verify", "缓存", "--json"), 3)
    assert (result["is_right"], result["damaged"], result["repaired"]) == (False, 1, 1)
    assert not dead.exists()
    assert infeed("cache", "verify", "缓存").returncode == 0
    assert told(fill("--json"))["stored"] == 1


def test_info_names_recipes_and_the_sets_that_used_them(fill, infeed, old_leaves):
    for size, times in ((8, 1), (16, 2)):
        for _ in range(times):
            told(fill("--json", size=size))
    done = infeed("cache", "info", "缓存")
    assert done.returncode == 0
    assert "16x16 rgb, stretch, bilinear, decode fast; kept as raw" in done.stdout
    assert f"used by {old_leaves.train_manifest}, {COUNT} records: last 20" in done.stdout
    assert "39 of 40 found (97.5%), 0 stored; in 2 uses 48.8% found" in done.stdout
    result = told(infeed("cache", "info", "缓存", "--json"))
    assert result["images"] == 78
    stores = {store["recipe"]["height"]: store for store in result["stores"]}
    assert sorted(stores) == [8, 16]
    for store in stores.values():
        assert (store["images"], store["is_current"], store["encoding"]) == (39, True, "raw")
        assert (store["segments"], store["unreadable"]) == (1, [])
    (use,) = stores[16]["sets"]
    assert (use["source"], use["records"]) == (str(old_leaves.train_manifest), COUNT)
    assert (use["uses"], use["last"]["hits"], use["total"]["stored"]) == (2, 39, 39)
    assert use["total_hit_rate"] == pytest.approx(39 / 80)


def test_info_says_when_the_decoder_is_another_one(fill, infeed, folder):
    told(fill("--json"))
    path = store_in(folder) / "store.json"
    value = json.loads(path.read_text("utf-8"))
    value["decoder"]["opencv"] = "4.0.0\x1b[2J"
    path.write_text(json.dumps(value), "utf-8")
    done = infeed("cache", "info", "缓存")
    assert "decoder: another than now, so it is not used: opencv 4.0.0" in done.stdout
    assert "\x1b" not in done.stdout
    assert told(infeed("cache", "info", "缓存", "--json"))["stores"][0]["is_current"] is False


def test_info_survives_a_damaged_description_and_damaged_files(fill, infeed, folder):
    told(fill("--json"))
    store = store_in(folder)
    (store / "store.json").write_text("{", "utf-8")
    (store / f"{1:032x}.seg").write_bytes(bytes(HEADER_BYTES))
    os.mkfifo(store / f"{2:032x}.seg")
    done = infeed("cache", "info", "缓存")
    assert done.returncode == 0, done.stderr
    assert "16x16 rgb, stretch" in done.stdout  # from a segment
    assert f"no segments: {1:032x}.seg, {2:032x}.seg" in done.stdout
    for path in segment_paths(store):
        path.unlink()
    done = infeed("cache", "info", "缓存")
    assert "recipe: not known: its description is damaged" in done.stdout


def test_clear_removes_one_store_or_all_and_leaves_what_is_not_ours(fill, infeed, folder):
    for size in (8, 16):
        told(fill("--json", size=size))
    one, other = sorted(path.name for path in folder.iterdir() if path.is_dir())
    result = told(infeed("cache", "clear", "缓存", one, "--json"))
    assert (result["stores"], result["segments"], result["left"]) == ([one], 1, [])
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [other]
    refused(infeed("cache", "clear", "缓存", one), 2, f"has no store '{one}'", other)
    (folder / "mine.txt").write_text("mine", "utf-8")
    done = infeed("cache", "clear", "缓存")
    assert done.returncode == 0
    assert "Removed 1 segment of 1 store, " in done.stdout
    assert "Left, since it is not infeed's: mine.txt" in done.stdout
    assert (folder / "mine.txt").read_text("utf-8") == "mine"
    (folder / "mine.txt").unlink()
    assert infeed("cache", "clear", "缓存").returncode == 0
    assert not folder.exists()


@pytest.mark.parametrize("command", ["verify", "info", "clear"])
def test_a_folder_that_is_no_cache_is_refused_in_words(infeed, command):
    (infeed.folder / "file.txt").write_text("a file", "utf-8")
    (infeed.folder / "empty").mkdir()
    (infeed.folder / "newer").mkdir()
    (infeed.folder / "newer" / "infeed-cache.json").write_text('{"format": 99}', "utf-8")
    for name, code, said in (
        ("gone", 2, "does not exist"),
        ("file.txt", 2, "is a file"),
        ("empty", 2, "empty is no cache of infeed: it has no infeed-cache.json"),
        ("newer", 3, "Use the infeed that made it, or name another folder."),
    ):
        refused(infeed("cache", command, name), code, said)
    assert len(list(infeed.folder.iterdir())) == 3


def test_a_cache_whose_marker_is_damaged_is_still_one(fill, infeed, folder):
    told(fill("--json"))
    (folder / "infeed-cache.json").write_text("{", "utf-8")
    assert told(infeed("cache", "info", "缓存", "--json"))["images"] == 39
    assert told(infeed("cache", "verify", "缓存", "--json"))["images"] == 39
    assert told(fill("--json"))["there"] == 39
    assert told(infeed("cache", "clear", "缓存", "--json"))["left"] == []
    assert not folder.exists()


def test_clear_that_may_not_write_ends_with_1(fill, infeed, folder):
    told(fill("--json"))
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    refused(infeed("cache", "clear", "缓存"), 1, "lock")
    assert len(list(folder.glob("*/*.seg"))) == 1
