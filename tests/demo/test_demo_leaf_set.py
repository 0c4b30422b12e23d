"""Promises of a set of leaves on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from infeed.demo import LeafSet, draw_set

TRAIN, VALIDATION, SIZE = 60, 12, 48


def small_set(folder: Path, **arguments: int) -> LeafSet:
    return draw_set(
        folder, **{"train": TRAIN, "validation": VALIDATION, "size": SIZE, "seed": 1} | arguments
    )


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> LeafSet:
    return small_set(tmp_path_factory.mktemp("leaves"))


def rows(manifest: Path) -> dict[str, int]:
    return {row["image_id"]: row["disease_class"] for row in json.loads(manifest.read_bytes())}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_set_has_as_many_rows_as_were_asked_for(leaves: LeafSet) -> None:
    assert len(json.loads(leaves.train_manifest.read_bytes())) == TRAIN
    assert len(json.loads(leaves.validation_manifest.read_bytes())) == VALIDATION
    assert len(rows(leaves.train_manifest)) == TRAIN


def test_the_manifests_list_exactly_the_files_that_are_there(leaves: LeafSet) -> None:
    for manifest, images in (
        (leaves.train_manifest, leaves.train_images),
        (leaves.validation_manifest, leaves.validation_images),
    ):
        assert set(rows(manifest)) == {path.name for path in images.iterdir()}


def test_the_classes_are_named_in_a_file(leaves: LeafSet) -> None:
    assert tuple(json.loads(leaves.class_names_file.read_bytes())) == leaves.classes
    assert len(leaves.classes) == 6


def test_every_class_is_in_both_splits(leaves: LeafSet) -> None:
    for manifest in (leaves.train_manifest, leaves.validation_manifest):
        assert set(rows(manifest).values()) == set(range(6))


def test_the_largest_class_is_about_eight_times_the_smallest(tmp_path: Path) -> None:
    many = small_set(tmp_path, train=400, size=32)
    counts = Counter(rows(many.train_manifest).values())
    assert 6.5 < max(counts.values()) / min(counts.values()) < 9.5


def test_names_are_those_of_the_wild(leaves: LeafSet) -> None:
    names = [*rows(leaves.train_manifest), *rows(leaves.validation_manifest)]
    for pattern in (
        r"[0-9a-f]{32}\.jpg",
        r"苹果_叶片_\d{4}\.jpg",
        r"Leaf \d+\.JPG",
        r"[0-9a-f]{32}_看图王\.jpg",
        r".+ - 副本\.(jpg|JPG)",
    ):
        assert any(re.fullmatch(pattern, name) for name in names), pattern


def test_names_stay_apart_on_a_disk_that_ignores_case(leaves: LeafSet) -> None:
    names = [*rows(leaves.train_manifest), *rows(leaves.validation_manifest)]
    assert len({name.casefold() for name in names}) == len(names)


def test_one_picture_is_there_twice_with_the_same_label(leaves: LeafSet) -> None:
    by_bytes: dict[str, set[str]] = {}
    for path in [*leaves.train_images.iterdir(), *leaves.validation_images.iterdir()]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        by_bytes.setdefault(digest, set()).add(path.name)
    assert [names for names in by_bytes.values() if len(names) > 1] == [set(leaves.duplicate)]
    original, copy = leaves.duplicate
    assert copy == re.sub(r"(\.\w+)$", r" - 副本\1", original)
    labels = rows(leaves.train_manifest)
    assert labels[original] == labels[copy]


def test_one_file_of_the_train_set_is_cut_off_and_all_others_are_whole(leaves: LeafSet) -> None:
    broken = []
    for path in [*leaves.train_images.iterdir(), *leaves.validation_images.iterdir()]:
        with Image.open(path) as image:
            try:
                image.load()
            except OSError as error:
                assert "truncated" in str(error)  # noqa: PT017 - most files raise nothing
                broken.append(path.name)
    assert broken == [leaves.truncated]
    assert leaves.truncated in rows(leaves.train_manifest)


def test_some_pictures_come_from_a_turned_phone(leaves: LeafSet) -> None:
    orientations = set()
    for path in leaves.train_images.iterdir():
        with Image.open(path) as image:
            orientations.add(image.getexif().get(0x0112, 1))
    assert orientations == {1, 3, 6}


def test_pictures_have_the_asked_longer_side_and_many_shapes(leaves: LeafSet) -> None:
    shapes = set()
    for path in leaves.train_images.iterdir():
        with Image.open(path) as image:
            shapes.add(image.size)
    assert {max(shape) for shape in shapes} == {SIZE}
    assert len(shapes) >= 4


def test_the_same_arguments_draw_the_same_set(leaves: LeafSet, tmp_path: Path) -> None:
    again = small_set(tmp_path / "again")
    assert contents(again.folder) == contents(leaves.folder)


def test_another_seed_draws_other_pictures(leaves: LeafSet, tmp_path: Path) -> None:
    other = small_set(tmp_path, seed=2)
    assert set(contents(other.train_images).values()).isdisjoint(
        contents(leaves.train_images).values()
    )


def test_a_picture_does_not_depend_on_how_many_the_set_has(tmp_path: Path) -> None:
    few = rows(small_set(tmp_path / "few", validation=6).validation_manifest)
    many = rows(small_set(tmp_path / "many", validation=8).validation_manifest)
    hexadecimal = {name for name in few if re.fullmatch(r"[0-9a-f]{32}\.jpg", name)}
    assert hexadecimal
    assert hexadecimal <= set(many)


def test_a_finished_set_is_taken_as_it_is(leaves: LeafSet) -> None:
    calls: list[tuple[int, int]] = []
    before = {path: path.stat().st_mtime_ns for path in leaves.folder.rglob("*")}
    found = draw_set(
        str(leaves.folder),
        train=TRAIN,
        validation=VALIDATION,
        size=SIZE,
        seed=1,
        on_picture=lambda done, total: calls.append((done, total)),
    )
    assert found == leaves
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in leaves.folder.rglob("*")} == before


def test_progress_is_told_after_each_picture(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    draw_set(
        tmp_path,
        train=12,
        validation=6,
        size=32,
        on_picture=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 18) for done in range(1, 19)]


def test_an_interrupted_drawing_is_done_again(leaves: LeafSet, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_set(
            tmp_path, train=TRAIN, validation=VALIDATION, size=SIZE, seed=1, on_picture=interrupt
        )
    small_set(tmp_path)
    assert contents(tmp_path) == contents(leaves.folder)


def test_a_set_whose_very_first_write_was_interrupted_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "leaf_set.json.partial").write_text('{"argum')
    small_set(tmp_path, train=12, size=32)
    assert not (tmp_path / "leaf_set.json.partial").exists()


def test_a_set_that_lost_a_file_is_drawn_again(leaves: LeafSet, tmp_path: Path) -> None:
    drawn = small_set(tmp_path)
    (drawn.train_images / drawn.truncated).unlink()
    small_set(tmp_path)
    assert contents(tmp_path) == contents(leaves.folder)


def test_a_set_of_other_arguments_is_refused_and_kept(leaves: LeafSet) -> None:
    before = contents(leaves.folder)
    with pytest.raises(FileExistsError, match=r"other arguments: .*'seed': 1.*asked for .*2.*new"):
        small_set(leaves.folder, seed=2)
    assert contents(leaves.folder) == before


def test_a_folder_of_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(FileExistsError, match=r"'thesis.txt' for one\. Pass a new or empty folder"):
        small_set(tmp_path)
    assert contents(tmp_path).keys() == {"thesis.txt"}


@pytest.mark.parametrize("marker", ["", "[]", '{"finished": true}', '"text"'])
def test_a_marker_that_is_not_ours_is_refused(marker: str, tmp_path: Path) -> None:
    (tmp_path / "leaf_set.json").write_text(marker)
    with pytest.raises(FileExistsError, match="is not the marker of a leaf set"):
        small_set(tmp_path)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaves").write_text("")
    with pytest.raises(FileExistsError, match="is a file, and a leaf set needs a folder"):
        small_set(tmp_path / "leaves")


def test_a_folder_that_cannot_be_made_is_named_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"leaf set cannot be written \(.+\)\. Pass a folder that you may write to"
    ) as caught:
        small_set(tmp_path / "file" / "leaves")
    assert caught.value.filename == str(tmp_path / "file" / "leaves")


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("train", 11, 12), ("validation", 5, 6), ("size", 31, 32), ("seed", -1, 0)],
)
def test_numbers_that_are_too_small_are_refused(
    name: str, value: int, least: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be at least {least}, got {value}$"):
        small_set(tmp_path / "leaves", **{name: value})
    assert not (tmp_path / "leaves").exists()
