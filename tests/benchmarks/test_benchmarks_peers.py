"""The comparison with other loaders: that it compares what it says it does. Nothing is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
MARKED = """# Page

<!-- peers: begin, written by benchmarks/peers -->
old
<!-- peers: end -->

End
"""
WARM = {"quiet": True, "images": 10, "cpu_seconds": 0.1, "first_batch_seconds": 0.5}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A manifest and its folder of 10 JPEGs."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(10):
        pixels = random.integers(0, 256, (40, 50, 3), np.uint8)
        (folder / "images" / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1])
        rows.append({"disease_class": number % 3, "image_id": f"{number}.jpg"})
    (folder / "photos.json").write_text(json.dumps(rows))
    return folder


def run(folder, *options):
    names = ("limit", "infeed", "tutorial", "cv2_pydataset")
    return subprocess.run(
        [sys.executable, str(PEERS / "run.py"), "photos.json", "images"]
        + ["--size", "16", "--batch", "4", "--rounds", "1", "--work", "work"]
        + ["--quiet-seconds", "0", "--tries", "1", "--json", "result.json", *options]
        + [option for name in names for option in ("--python", f"{name}={sys.executable}")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PEERS.parents[1] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_peer_delivers_the_whole_set_in_turns_and_the_table_shows_it(photos):
    (photos / "PAGE.md").write_text(MARKED)
    names = ["limit", "infeed", "tutorial", "cv2_pydataset"]
    done = run(photos, "--rows", "26", "--peers", ",".join(names), "--markdown", "PAGE.md")
    assert done.returncode == 0, done.stderr
    result = json.loads((photos / "result.json").read_text())
    assert set(result["peers"]) == set(result["rounds"][0]) == set(names)
    assert result["photos"]["files"] == 10
    assert result["photos"]["rows"] == 26
    for name in ("infeed", "cv2_pydataset"):
        for epoch in ("cold", "warm"):
            read = result["rounds"][0][name][epoch]
            assert (read["images"], read["distinct_images"]) == (26, 26)
            assert read["every_image_once"]
    assert result["rounds"][0]["tutorial"]["warm"]["images"] == 28  # whole batches
    assert result["peers"]["tutorial"]["shuffle"] == "draws with replacement"
    assert result["peers"]["infeed"]["ratio"] == 1
    page = (photos / "PAGE.md").read_text()
    assert page.startswith("# Page\n")
    assert page.endswith("\nEnd\n")
    assert "old" not in page
    for title in ("**infeed**", "the tutorial's generator", "PyDataset with cv2, workers"):
        assert f"| {title} |" in page
    assert done.stdout.strip() in page
    assert not list((photos / "work").iterdir()), "the laid set is still there"


def test_a_set_with_other_files_than_jpeg_is_refused(photos, tmp_path):
    (tmp_path / "images").mkdir()
    pixels = np.zeros((8, 8, 3), np.uint8)
    (tmp_path / "images" / "a.png").write_bytes(cv2.imencode(".png", pixels)[1])
    rows = [{"disease_class": 0, "image_id": "a.png"}]
    (tmp_path / "photos.json").write_text(json.dumps(rows))
    done = run(tmp_path, "--peers", "infeed")
    assert done.returncode == 1
    assert "a.png is png; some peers read JPEG alone" in done.stderr


@pytest.mark.parametrize(
    ("epoch", "message"),
    [
        ({"every_image_once": False, "dtypes": ["uint8"]}, "did not deliver every image once"),
        ({"every_image_once": True, "dtypes": ["float32"]}, "the table says uint8"),
    ],
)
def test_a_peer_that_did_less_or_other_work_has_no_figure(peers_module, epoch, message):
    good = {"every_image_once": True, "dtypes": ["uint8"]}
    check = peers_module("run").check
    check("infeed", {"cold": good, "warm": good})
    with pytest.raises(RuntimeError, match=message):
        check("infeed", {"cold": good, "warm": epoch})


def test_an_image_that_came_twice_instead_of_another_is_noticed(peers_module):
    read_epoch = peers_module("measure").read_epoch
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    assert read_epoch(iter([(pixels, [0, 2]), (pixels, [3, 1])]), 4)["every_image_once"]
    twice = read_epoch(iter([(pixels, [0, 2]), (pixels, [3, 3])]), 4)
    assert (twice["every_image_once"], twice["distinct_images"]) == (False, 3)


def rounds_of(speeds, *, disturbed=()):
    return [
        {
            name: {
                "warm": WARM
                | {"images_per_second": speed, "quiet": (number, name) not in disturbed}
            }
            for name, speed in round_.items()
        }
        for number, round_ in enumerate(speeds)
    ]


def test_ratios_are_taken_within_a_round(peers_module):
    # Over the medians, 200 and 100, the ratio would be 2.
    speeds = [{"infeed": 100, "x": 100}, {"infeed": 200, "x": 50}, {"infeed": 300, "x": 200}]
    figures = peers_module("comparison").summary(rounds_of(speeds), "x")
    assert figures.images_per_second == 100
    assert figures.ratio == 1.5
    assert figures.ratio_range == (1, 4)


def test_a_ratio_needs_both_to_have_had_the_machine_for_themselves(peers_module):
    summary = peers_module("comparison").summary
    speeds = [{"infeed": 100, "x": x, "y": 1} for x in (10, 50, 100, 100, 100)]
    rounds = rounds_of(speeds, disturbed=[(0, "x"), (1, "infeed"), (2, "y")])
    figures = summary(rounds, "x")
    assert (figures.ratio_range, figures.rounds, figures.quiet) == ((1, 1), 3, True)


def test_figures_of_too_few_quiet_rounds_are_marked(peers_module):
    speeds = [{"infeed": 100, "x": x} for x in (10, 100, 100, 100)]
    rounds = rounds_of(speeds, disturbed=[(0, "x"), (1, "x")])
    figures = peers_module("comparison").summary(rounds, "x")
    assert (figures.ratio_range, figures.rounds, figures.quiet) == ((1, 10), 4, False)


def test_turns_begin_anywhere_and_go_both_ways(peers_module):
    run_ = peers_module("run")
    order = run_.random.Random(7)
    taken = {tuple(run_.turns("abc", order, backwards=odd)) for odd in [False, True] * 20}
    assert taken == {tuple(turn) for turn in ("abc", "bca", "cab", "cba", "acb", "bac")}


def test_a_page_without_a_place_for_the_table_is_left_alone(peers_module, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Page\n")
    with pytest.raises(ValueError, match="has no place for the table; add the lines"):
        peers_module("table").write_between_markers(page, "text")
    assert page.read_text() == "# Page\n"


def test_each_peer_has_a_program_and_requirements(peers_module):
    catalogue = peers_module("catalogue")
    for peer in catalogue.PEERS.values():
        assert (PEERS / f"{peer.module}.py").exists()
        assert (PEERS / "requirements" / f"{peer.requirements}.txt").exists()


def test_the_folders_readme_names_each_module():
    readme = (PEERS / "README.md").read_text()
    for module in PEERS.glob("*.py"):
        assert f"| `{module.name}` |" in readme, module.name


def test_the_processor_counts_its_own_children_as_its_own(peers_module):
    watch = peers_module("processor").Watch()
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    # The kernel says it in whole hundredths, user's and system's each rounded.
    assert watch.load().own_cpu_seconds >= 0.25
