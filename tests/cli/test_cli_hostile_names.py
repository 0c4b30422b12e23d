"""Names that try to steer a terminal come out of no command as they are."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

COMMAND = Path(sys.executable).with_name("infeed")

# A colour that no program sets, so that it is known wherever it comes up.
STEERING = "\x1b[31337m"
NASTY = [
    f"{STEERING}\n\r\tlines",
    "\x1b]8;;http:example.org\x07link\x1b]8;;\x07",
    "\x9b31mC1\x85next",
    "\u202egnp.exe\u2066\u200b",
    "bytes \udcff\udc9b",
    "\x7f\x08\x08 \xa0\u2028\ufeff",
    "<script>alert(1)<br> [bold red] {{ 7 * 6 }} %s",
    "=cmd|' C calc'!A0,\"quoted\"",
]


def unprintable(text: str) -> list[str]:
    """What in a text steers a terminal, or is not seen."""
    return sorted({c for c in text if c != "\n" and not c.isprintable()})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A folder with a manifest and its images, and nothing in it with a harmless name.

    Of 32 images one is missing, one is empty, and one is no image.
    """
    folder = tmp_path_factory.mktemp("hostile") / f"set{STEERING}\n"
    (folder / NASTY[0]).mkdir(parents=True)
    rows = []
    for number in range(32):
        name = f"{NASTY[number % len(NASTY)]}{number}.png"
        name = name if number % 2 else f"{NASTY[0]}/{name}"
        rows.append({"image": name, "label": NASTY[number % 5]})
        image = cv2.imencode(".png", np.full((8, 8, 3), number * 7, np.uint8))[1].tobytes()
        content = {3: None, 4: b"", 5: b"no image"}.get(number, image)
        if content is not None:
            (folder / name).write_bytes(content)
    (folder / f"train{STEERING}\n.json").write_text(json.dumps(rows), "utf-8")
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.fixture(scope="module")
def manifest(hostile) -> Path:
    return next(hostile.glob("train*"))


@pytest.fixture(scope="module")
def infeed(infeed_in, tmp_path_factory):
    return infeed_in(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def run(infeed, manifest):
    """A finished training, and what it said."""
    out = f"run{STEERING}\n"
    done = infeed(
        *("train", manifest, "--val", manifest, *infeed.tiny, "--epochs", 1, "--max-bad", "0.5"),
        *("--out", out, "--cache", f"cache{STEERING}"),
    )
    assert done.returncode == 0, done.stderr
    return infeed.folder / out, done


def check(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """All that a command has said, if it says nothing that steers."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert unprintable(said) == [], said
    return said


def test_train_names_bad_images_and_its_folder(run):
    said = check(run[1])
    assert "Bad images: " in said
    assert r"\x1b[31337m" in said
    # No name begins a line of its own.
    assert not any(line.startswith(("lines", "\\r")) for line in said.splitlines())


def test_what_a_run_leaves_can_be_read_on_a_terminal_and_by_programs(run):
    folder = run[0]
    texts = [path for path in folder.iterdir() if path.suffix in (".json", ".jsonl", ".csv")]
    assert len(texts) >= 4
    for path in texts:
        text = path.read_text("utf-8")
        assert unprintable(text.replace("\r\n", "\n")) == [], path
        if path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".jsonl":
            reasons = [json.loads(line)["reason"] for line in text.splitlines()]
            assert sorted(reasons) == ["empty", "missing", "not_an_image"]
        else:
            assert len(list(csv.DictReader(io.StringIO(text)))) == 1
    names = json.loads((folder / "class_names.json").read_text("utf-8"))
    assert sorted(names) == sorted(NASTY[:5])


def test_replay_names_each_row(run, infeed):
    said = check(infeed("replay", run[0], "--step", 2))
    assert r"\x1b]8;;http:example.org\x07link" in said


def test_replay_as_json_has_every_name_as_it_is(run, infeed):
    done = infeed("replay", run[0], "--step", 2, "--json")
    check(done)
    assert done.stdout.isascii()
    rows = json.loads(done.stdout)["rows"]
    assert {row["label_name"] for row in rows} <= set(NASTY)
    assert all(any(name in row["file"] for name in NASTY) for row in rows)


def test_a_page_holds_no_name_that_steers_it(run, infeed, tmp_path):
    text = ""
    for step in range(1, 5):
        sheet = tmp_path / f"{step}.html"
        check(infeed("replay", run[0], "--step", step, "-o", sheet))
        text += sheet.read_text("utf-8")
    assert unprintable(text) == []
    assert "<script" not in text
    assert "{{ 7 * 6 }}" in html.unescape(text)


@pytest.mark.parametrize("more", [(), ("--json",), ("-q",)])
def test_bench_and_the_commands_of_a_cache_print_no_name_as_it_is(infeed, manifest, more, tmp_path):
    cache = tmp_path / f"cache{STEERING}\n"
    # More are bad than it bears.
    check(infeed("bench", manifest, "--size", 8, "--epochs", 1, *more), 3)
    filled = infeed(
        *("cache", "fill", manifest, "--size", 8, "--cache", cache, "--max-bad", 0.5, *more)
    )
    check(filled)
    for command in ("info", "verify"):
        done = infeed("cache", command, cache, *more)
        said = check(done)
        if more == ("--json",):
            assert json.loads(done.stdout)["images"] == 29
        elif command == "info":
            assert r"\x1b[31337m\n.json" in said
    (cache / f"odd{STEERING}\n").write_text("")
    check(infeed("cache", "clear", cache, *more))


def test_a_training_from_class_folders_prints_no_name_as_it_is(infeed, tmp_path):
    for number, name in enumerate(NASTY):
        (tmp_path / name).mkdir()
        image = cv2.imencode(".png", np.full((8, 8, 3), number * 7, np.uint8))[1].tobytes()
        for copy in range(4):
            (tmp_path / name / f"{name}{copy}.png").write_bytes(image if copy else b"no image")
    done = infeed(
        *("train", tmp_path, *infeed.tiny, "--epochs", 1, "--max-bad", "0.5"),
        *("--out", tmp_path.parent / f"folders{STEERING}"),
    )
    assert "Bad images: 8" in check(done)


@pytest.mark.parametrize(
    "arguments",
    [
        (NASTY[0],),
        ("train", NASTY[0]),
        ("train", ".", NASTY[1], NASTY[2]),
        ("train", ".", f"--{NASTY[1]}"),
        ("train", ".", "--size", NASTY[1]),
        ("train", ".", "--max-bad", NASTY[2]),
        ("train", ".", "--model", NASTY[0]),
        ("bench", "MANIFEST", "--images", NASTY[0]),
        ("bench", "MANIFEST", "--image-column", NASTY[0]),
        ("bench", "MANIFEST", "--image-column", NASTY[0], "--debug"),
        ("bench", "MANIFEST", "--cache", f"MANIFEST/{NASTY[0]}"),
        ("cache", "info", "FOLDER"),
        ("cache", "clear", "FOLDER", NASTY[0]),
        ("replay", "FOLDER", "--step", "1"),
        ("replay", "FOLDER", "--step", "1", "-o", NASTY[1]),
        ("train", "MANIFEST", "--out", "MANIFEST"),
        ("train", "MANIFEST", "--max-bad", "0"),
        ("train", "MANIFEST", "--max-bad", "0", "--debug"),
        ("train", "MANIFEST", "--class-names", "MANIFEST"),
    ],
)
def test_no_error_prints_a_name_as_it_is(infeed, manifest, hostile, arguments):
    given = [
        str(argument).replace("MANIFEST", str(manifest)).replace("FOLDER", str(hostile))
        for argument in arguments
    ]
    if given[:2] == ["train", str(manifest)]:
        given += infeed.tiny
    done = infeed(*given)
    said = done.stdout + done.stderr
    assert unprintable(said) == [], said
    assert done.returncode in (1, 2, 3), said


def test_on_a_terminal_bars_and_lines_hold_no_name_as_it_is(infeed, manifest, tmp_path):
    """There rich steers the terminal, and nobody else does."""
    ours, theirs = pty.openpty()
    seen = bytearray()

    def look() -> None:
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                return
            if not part:
                return
            seen.extend(part)

    command = [COMMAND, "cache", "fill", manifest, "--size", "8", "--max-bad", "0.5"]
    process = subprocess.Popen(
        [*command, "--cache", tmp_path / f"cache{STEERING}"],
        cwd=infeed.folder,
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(theirs)
    thread = threading.Thread(target=look)
    thread.start()
    assert process.wait(timeout=60) == 0
    thread.join()
    os.close(ours)
    text = seen.decode("utf-8")
    assert r"\x1b[31337m" in text
    assert "bad image" in text
    for name in (STEERING, "\x1b]8", "\x07", "\x9b", "\u202e", "\x7f", "\u2028", "\u200b"):
        assert name not in text


@pytest.mark.slow
def test_the_demo_in_a_folder_with_such_a_name_prints_it_escaped(infeed, tmp_path):
    folder = tmp_path / NASTY[0]
    done = infeed("demo", "--folder", folder, "--train", 40, "--val", 10, "--epochs", 1)
    assert r"\x1b[31337m" in check(done)
