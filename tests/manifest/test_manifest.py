"""Promises of the manifest itself."""

from __future__ import annotations

import doctest
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import infeed.manifest
from infeed.errors import ManifestError
from infeed.manifest.duplicates import repeated_names
from infeed.manifest.manifest import Manifest
from infeed.manifest.record import Record

NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1)
ROWS = st.dictionaries(NAMES.filter(lambda name: not name.isspace()), st.integers(), min_size=1)


def test_the_tutorials_manifest_needs_no_arguments(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('[{"disease_class": 3, "image_id": "x.jpg"}]')
    manifest = Manifest.open(path, images=tmp_path)
    assert manifest.record(0) == Record(0, "x.jpg", 0, "3", 1.0)
    assert repr(manifest) == (
        f"Manifest(1 images, 1 classes, source='{path}', images='{tmp_path}')"
    )


@given(ROWS)
def test_rows_come_back_as_they_were_given(rows):
    manifest = Manifest.from_rows(rows, rows.values())
    for position, (name, label) in enumerate(rows.items()):
        record = manifest.record(position)
        assert (record.uri, record.label_name) == (name, str(label))
        assert manifest.uri(position) == name
    assert manifest.class_names == tuple(str(label) for label in sorted(set(rows.values())))


def test_labels_that_are_not_all_whole_numbers_are_sorted_as_text():
    manifest = Manifest.from_rows(["a", "b", "c"], [10, "9", "007"])
    assert manifest.class_names == ("007", "10", "9")
    assert manifest.labels.tolist() == [1, 2, 0]


def test_numpy_arrays_serve_as_names_labels_and_weights():
    manifest = Manifest.from_rows(
        np.array(["a", "b"]), np.array([4, 2], np.int16), weights=np.array([1, 0.5], np.float32)
    )
    assert manifest.class_names == ("2", "4")
    assert manifest.weights.tolist() == [1.0, 0.5]
    texts = Manifest.from_rows([Path("a"), "b"], [np.str_("x"), np.int64(3)])
    assert [type(name) for name in texts.class_names] == [str, str]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "row 2: the label is missing."),
        (float("nan"), "row 2: the label is missing."),
        ("", "row 2: the label is missing ('')"),
        (True, "row 2: the label is True, bool; expected an integer or text"),
        (1.5, "row 2: the label is 1.5, float; expected"),
        ([1], "row 2: the label is [1], list; expected"),
    ],
)
def test_a_label_that_is_none_is_refused(label, message):
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(["a", "b"], [1, label])
    assert message in str(caught.value)


def test_names_that_are_no_text_are_refused():
    with pytest.raises(ManifestError, match="row 1: the image name is 3, int; expected text"):
        Manifest.from_rows([3])
    with pytest.raises(TypeError, match=r"names must be a list, got the text 'a\.jpg'"):
        Manifest.from_rows("a.jpg")


@pytest.mark.parametrize(("names", "labels"), [(["a"], [1, 2]), (["a", "b"], [1])])
def test_names_and_labels_must_be_equal_in_number(names, labels):
    with pytest.raises(ManifestError, match="differ in number; one of them ends after 1"):
        Manifest.from_rows(names, labels)


def test_a_label_outside_the_given_classes_is_refused_with_the_classes():
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(["a", "b"], [1, 7], class_names=[0, 1, 2], source="val.json")
    assert str(caught.value) == (
        "val.json, row 2: label '7' is not among class_names, which are '0', '1', '2'. "
        "Add it to class_names, or correct the row."
    )


def test_given_classes_name_labels_that_are_their_numbers():
    manifest = Manifest.from_rows(["a", "b", "c"], [1, "rust", 0], class_names=["healthy", "rust"])
    assert manifest.class_names == ("healthy", "rust")
    assert manifest.labels.tolist() == [1, 1, 0]
    with pytest.raises(ManifestError, match="label '2' is not among class_names"):
        Manifest.from_rows(["a"], [2], class_names=["healthy", "rust"])


def test_given_classes_that_are_numbers_are_labels_not_places():
    with pytest.raises(ManifestError, match="label '0' is not among class_names"):
        Manifest.from_rows(["a"], [0], class_names=["1", "2"])


def test_given_classes_keep_their_order_and_the_empty_ones():
    manifest = Manifest.from_rows(["a", "b"], [3, 1], class_names=["3", 2, "1"])
    assert manifest.class_names == ("3", "2", "1")
    assert manifest.labels.tolist() == [0, 2]
    assert manifest.class_counts.tolist() == [1, 0, 1]
    assert manifest.class_counts.dtype == np.int64


@pytest.mark.parametrize(
    ("class_names", "error", "message"),
    [
        ([], ValueError, "class_names is empty"),
        (["a", "a"], ValueError, "class_names holds 'a' twice"),
        ([1, "1"], ValueError, "class_names holds '1' twice"),
        ([" "], ValueError, "class_names holds an empty name: ' '"),
        ("ab", TypeError, "class_names must be a list of names, got the text 'ab'"),
        ([True], TypeError, "class_names must hold texts or integers, got True"),
        ([1.0], TypeError, "class_names must hold texts or integers, got 1.0"),
    ],
)
def test_class_names_check_themselves(class_names, error, message):
    with pytest.raises(error, match=message):
        Manifest.from_rows(["a"], ["a"], class_names=class_names)


DOUBLE = (["a", "b", "a", "c", "a"], [1, 2, 3, 4, 5])


def test_a_name_that_occurs_again_is_refused_with_both_rows_and_the_cures():
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(*DOUBLE)
    assert str(caught.value) == (
        "from_rows, row 3: image 'a' occurs again, first in row 1. 2 rows repeat a name. "
        'Remove the row, or pass duplicates="drop" to keep the first of each name, '
        'or duplicates="keep" to keep all rows.'
    )


def test_both_lines_of_a_repeated_name_are_named(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("image,label\na,1\nb,1\na,1\n")
    with pytest.raises(
        ManifestError, match=r"row 3 \(line 4\): .*again, first in row 1 \(line 2\)\. R"
    ):
        Manifest.from_csv(path)


def test_repeated_names_are_kept_or_dropped_on_request():
    kept = Manifest.from_rows(*DOUBLE, duplicates="keep")
    assert [kept.uri(i) for i in range(5)] == DOUBLE[0]
    dropped = Manifest.from_rows(*DOUBLE, weights=[1, 2, 3, 4, 5], duplicates="drop")
    assert [dropped.uri(i) for i in range(3)] == ["a", "b", "c"]
    assert [dropped.record(i).label_name for i in range(3)] == ["1", "2", "4"]
    assert dropped.weights.tolist() == [1, 2, 4]
    with pytest.raises(ValueError, match=r"duplicates must be one of .*, got 'ignore'"):
        Manifest.from_rows(["a"], duplicates="ignore")


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"dd"]), min_size=1), st.integers(1, 3))
def test_repeated_names_are_found_even_where_hashes_collide(names, modulus):
    offsets = np.cumsum([0, *map(len, names)]).astype(np.int64)
    hashes = np.array([(len(name) + name[0]) % modulus for name in names], np.int64)
    rows, firsts = repeated_names(b"".join(names), offsets, hashes)
    expected = [(i, names.index(n)) for i, n in enumerate(names) if names.index(n) < i]
    assert list(zip(rows.tolist(), firsts.tolist(), strict=True)) == expected


def test_no_rows_are_no_manifest():
    with pytest.raises(ManifestError, match="from_rows: there are no rows"):
        Manifest.from_rows([])
    with pytest.raises(ManifestError, match="no image is left"):
        Manifest.from_rows(["a"]).subset([])


@given(ROWS, st.data())
def test_a_subset_has_the_rows_asked_for_in_that_order(rows, data):
    manifest = Manifest.from_rows(rows, rows.values(), weights=range(len(rows)))
    positions = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    subset = manifest.subset(positions)
    assert len(subset) == len(positions)
    assert subset.class_names == manifest.class_names
    for at, position in enumerate(positions):
        record, whole = subset.record(at), manifest.record(position)
        assert (record.uri, record.label, record.weight) == (whole.uri, whole.label, whole.weight)


def test_a_subset_larger_than_a_block_is_right():
    names = [f"{i % 7 * 'x'}{i}.jpg" for i in range(100_000)]
    manifest = Manifest.from_rows(names)
    positions = np.arange(99_999, -1, -1)
    subset = manifest.subset(positions)
    assert [subset.uri(i) for i in range(0, 100_000, 997)] == names[::-1][::997]
    assert subset.arena == "".join(names[::-1]).encode()


def test_a_subset_of_all_rows_is_the_same_manifest():
    manifest = Manifest.from_rows(["a", "bb", "ccc"], [1, 2, 1])
    assert manifest.subset(range(3)).fingerprint() == manifest.fingerprint()
    assert manifest.subset([2, 1, 0]).fingerprint() != manifest.fingerprint()


@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        ([3], IndexError, r"positions must be in \[0, 3\), got 3"),
        ([-1], IndexError, r"positions must be in \[0, 3\), got -1"),
        ([2**64 - 1], IndexError, r"got 18446744073709551615"),
        ([0.0], TypeError, "positions must be a list of integers, got float64"),
        ([True, False, True], TypeError, r"For a mask pass numpy\.flatnonzero"),
        (1, TypeError, "positions must be a list of integers"),
    ],
)
def test_positions_outside_are_refused(positions, error, message):
    with pytest.raises(error, match=message):
        Manifest.from_rows(["a", "b", "c"]).subset(positions)


def test_a_position_outside_has_no_record():
    manifest = Manifest.from_rows(["a"])
    for position in (-1, 1):
        with pytest.raises(IndexError, match=rf"position must be in \[0, 1\), got {position}"):
            manifest.record(position)
        with pytest.raises(IndexError):
            manifest.uri(position)
    assert manifest.record(np.int64(0)) == Record(0, "a", None, None, 1.0)


@given(st.lists(st.integers(0, 5), min_size=1))
def test_the_positions_of_the_classes_partition_the_manifest(labels):
    names = map(str, range(len(labels)))
    manifest = Manifest.from_rows(names, labels, class_names=range(6))
    for label in range(6):
        positions = manifest.positions_of_class(label)
        assert positions.dtype == np.int64
        assert positions.tolist() == [i for i, own in enumerate(labels) if own == label]
        assert len(positions) == manifest.class_counts[label]


def test_a_class_outside_has_no_positions():
    with pytest.raises(IndexError, match=r"label must be in \[0, 1\), got 1"):
        Manifest.from_rows(["a"], [4]).positions_of_class(1)
    with pytest.raises(IndexError, match=r"label must be in \[0, 0\), got 0"):
        Manifest.from_rows(["a"]).positions_of_class(0)


def test_the_fingerprint_is_what_it_was_when_it_was_frozen():
    manifest = Manifest.from_rows(["a.jpg", "稻.jpg"], [10, 9], weights=[1, 0.5])
    assert manifest.fingerprint() == "9d4ac6b3a194001d9a87b66de4a5b8a6"
    assert (
        Manifest.from_rows(["a.jpg", "稻.jpg"]).fingerprint() == "f201f6cb02b9c13fa54a0fe046791799"
    )


def test_the_fingerprint_tells_contents_apart_and_nothing_else(tmp_path):
    base = Manifest.from_rows(["a", "bc"], [0, 1])
    others = [
        Manifest.from_rows(["ab", "c"], [0, 1]),
        Manifest.from_rows(["a", "bc"], [1, 0]),
        Manifest.from_rows(["a", "bc"], [0, 2]),
        Manifest.from_rows(["a", "bc"], [0, 1], class_names=[0, 1, 2]),
        Manifest.from_rows(["a", "bc"], [0, 1], weights=[1, 1]),
        Manifest.from_rows(["a", "bc"]),
    ]
    assert len({m.fingerprint() for m in [base, *others]}) == 7
    same = Manifest.from_rows(["a", "bc"], ["0", "1"], images=tmp_path, source="elsewhere")
    assert same.fingerprint() == base.fingerprint()


def test_another_process_finds_the_same_fingerprint_and_the_same_repeats():
    """Python's text hash, which finds repeated names, is another in every process."""
    code = (
        "from infeed.manifest.manifest import Manifest\n"
        "rows = [str(i % 700) for i in range(1000)]\n"
        "print(Manifest.from_rows(rows, rows, duplicates='drop').fingerprint())"
    )
    rows = [str(i) for i in range(700)]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Manifest.from_rows(rows, rows).fingerprint()


def test_a_pickle_is_compact_and_gives_the_same_manifest():
    names = [f"{i:032x}.jpg" for i in range(10_000)]
    manifest = Manifest.from_rows(names, np.arange(10_000) % 61)
    manifest.positions_of_class(3)
    manifest.fingerprint()
    data = pickle.dumps(manifest)
    assert len(data) < 10_000 * (36 + 13)
    copy = pickle.loads(data)
    assert copy.fingerprint() == manifest.fingerprint()
    assert copy.positions_of_class(3).tolist() == manifest.positions_of_class(3).tolist()


def test_a_manifest_does_not_change():
    manifest = Manifest.from_rows(["a"], [1], weights=[1])
    for array in (manifest.offsets, manifest.labels, manifest.weights, manifest.class_counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        manifest.source = "other"


def test_a_row_costs_a_few_bytes_beyond_its_name():
    names = [f"{i:032x}.jpg" for i in range(10_000)]
    manifest = Manifest.from_rows(names, np.arange(10_000) % 61)
    assert manifest.nbytes == 10_000 * (36 + 8 + 4) + 8
    manifest.positions_of_class(0)
    assert manifest.nbytes == 10_000 * (36 + 8 + 4 + 4) + 8


def test_memory_stays_at_the_arrays_while_a_large_manifest_is_read(tmp_path):
    """In a process of its own, since only there the system's count means anything."""
    path = tmp_path / "train.json"
    count = 200_000
    with path.open("w") as file:
        rows = ({"disease_class": i % 61, "image_id": f"{i:032x}.jpg"} for i in range(count))
        file.write("[" + ",".join(json.dumps(row) for row in rows) + "]")
    code = (
        "import sys, resource\n"
        "from infeed.manifest.manifest import Manifest\n"
        "def anonymous():\n"
        "    with open('/proc/self/status') as status:\n"
        "        line = next(line for line in status if line.startswith('RssAnon'))\n"
        "    return int(line.split()[1]) * 1024\n"
        "before = anonymous()\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "manifest = Manifest.from_json(sys.argv[1])\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "print(anonymous() - before - len(manifest.arena), after - peak)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, peak = map(int, done.stdout.split())
    assert held / count < 50
    assert peak / count < 200


def test_missing_images_are_counted_and_the_first_five_named(tmp_path):
    names = [f"{i}.jpg" for i in range(9)]
    (tmp_path / "3.jpg").touch()
    (tmp_path / "1.jpg").mkdir()
    manifest = Manifest.from_rows(names, images=tmp_path)
    with pytest.raises(ManifestError) as caught:
        manifest.check_images()
    assert str(caught.value) == (
        f"from_rows: 8 images cannot be found in '{tmp_path}': row 1: '0.jpg' does not exist; "
        f"row 2: '1.jpg' is not a regular file; row 3: '2.jpg' does not exist; "
        f"row 5: '4.jpg' does not exist; row 6: '5.jpg' does not exist; .... "
        f"Check that this is the image folder, or remove the rows."
    )
    manifest.subset([3]).check_images()
    with pytest.raises(ManifestError, match="no image folder to look in"):
        Manifest.from_rows(["a"]).check_images()
    too_long = Manifest.from_rows(["x" * 300], images=tmp_path)
    with pytest.raises(ManifestError, match=r"cannot be read \(File name too long\)"):
        too_long.check_images()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.json", '[{"image": "a.jpg", "label": 1}]'),
        ("train.jsonl", '{"image": "a.jpg", "label": 1}\n'),
        ("train.ndjson", '{"image": "a.jpg", "label": 1}\n'),
        ("train.csv", "image,label\na.jpg,1\n"),
        ("train.TSV", "image\tlabel\na.jpg\t1\n"),
        ("train.txt", '\n [{"image": "a.jpg", "label": 1}]'),
        ("train", "image;label\na.jpg;1\n"),
    ],
)
def test_open_finds_the_form_of_a_manifest(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    expected = Manifest.from_rows(["a.jpg"], [1])
    assert Manifest.open(path, images=tmp_path).fingerprint() == expected.fingerprint()


def test_open_takes_folders_which_have_no_columns(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.jpg").touch()
    assert Manifest.open(tmp_path).class_names == ("cat",)
    assert Manifest.open(tmp_path, labelled=False).labels is None


def test_open_takes_the_manifests_own_folder_where_none_is_given(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[{"image": "a.jpg", "label": 1}]')
    assert Manifest.open(path).images == str(tmp_path)


def test_open_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(ManifestError, match="is a folder: it holds the images itself"):
        Manifest.open(tmp_path, label_column="x")
    with pytest.raises(ManifestError, match="there is no such file"):
        Manifest.open(tmp_path / "none")


def test_the_examples_of_the_readme_run():
    results = doctest.testfile("README.md", package=infeed.manifest, encoding="utf-8")
    assert results.attempted >= 4
    assert results.failed == 0
