"""Promises of Manifest.from_csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.errors import ManifestError
from infeed.manifest.manifest import Manifest


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "train.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def pairs(manifest: Manifest) -> list[tuple[str, str | None]]:
    records = [manifest.record(position) for position in range(len(manifest))]
    return [(record.uri, record.label_name) for record in records]


EXPECTED = [("a.jpg", "007"), ("稻.JPG", "NA")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("image,label\na.jpg,007\n稻.JPG,NA\n", "train.csv"),
        ("image,label\r\na.jpg,007\r\n稻.JPG,NA", "train.csv"),
        ("\ufeffimage,label\n\na.jpg,007\n\n稻.JPG,NA\n\n", "train.csv"),
        ("\n\nlabel;image\n007;a.jpg\nNA;稻.JPG\n", "train.csv"),
        ("image\tlabel\na.jpg\t007\n稻.JPG\tNA\n", "train.tsv"),
        ("image\tlabel\na.jpg\t007\n稻.JPG\tNA\n", "train.txt"),
        ("image, label\na.jpg, 007\n稻.JPG, NA\n", "train.csv"),
        ('"image","label"\n"a.jpg","007"\n"稻.JPG","NA"\n', "train.csv"),
        ("id|label|file name\n1|007|a.jpg\n2|NA|稻.JPG\n", "train.csv"),
    ],
)
def test_every_spelling_of_the_same_rows_gives_the_same_manifest(write, text, name):
    assert pairs(Manifest.from_csv(write(text, name))) == EXPECTED


def test_a_file_without_header_is_read_with_the_columns_named(write):
    path = write("007,a.jpg\nNA,稻.JPG\n")
    with pytest.raises(
        ManifestError, match=r"the first line looks like a row, not like a header.*columns="
    ):
        Manifest.from_csv(path)
    assert pairs(Manifest.from_csv(path, columns=["label", "image"])) == EXPECTED


def test_columns_that_cannot_be_found_are_asked_for(write):
    path = write("left,right\n1,2\n")
    with pytest.raises(ManifestError) as caught:
        Manifest.from_csv(path)
    assert str(caught.value) == (
        f"{path}: no column looks like image names; columns are 'left', 'right'. "
        f"Pass image_column=<column name>."
    )


def test_too_few_or_many_fields_are_refused_by_line(write):
    with pytest.raises(ManifestError, match=r"row 2 \(line 3\) has 3 fields.*2 columns.*'c'"):
        Manifest.from_csv(write("image,label\na.jpg,1\nb.jpg,1,c\n"))
    with pytest.raises(ManifestError, match=r"row 1 \(line 2\) has 1 fields.*2 columns"):
        Manifest.from_csv(write("image,label\na.jpg\n"))


def test_the_line_of_a_row_is_right_after_a_field_of_several_lines(write):
    with pytest.raises(ManifestError, match=r"row 2 \(line 5\): the label is missing"):
        Manifest.from_csv(write('note,image,label\n"a\nb\nc",a.jpg,1\nx,b.jpg,\n'))


def test_a_quote_that_is_not_closed_is_refused_by_the_line_it_opens_on(write):
    with pytest.raises(ManifestError, match=r"row 2 \(line 3\) is not CSV.*not closed"):
        Manifest.from_csv(write('image,label\na.jpg,1\n"b.jpg,1\nc.jpg,1\n'))
    rest = "c.jpg,1\n" * 50_000
    with pytest.raises(ManifestError, match=r"row 2 \(line 3\) is not CSV.*not closed"):
        Manifest.from_csv(write(f'image,label\na.jpg,1\n"b.jpg,1\n{rest}'))


def test_a_column_that_occurs_twice_is_refused(write):
    with pytest.raises(ManifestError, match="column 'label' occurs 2 times"):
        Manifest.from_csv(write("image,label,label\na.jpg,1,2\n"))


@pytest.mark.parametrize("text", ["", "\n\n", "image,label\n", "image,label"])
def test_an_empty_manifest_is_refused(write, text):
    with pytest.raises(ManifestError, match=r"train\.csv: there are no rows"):
        Manifest.from_csv(write(text))


def test_a_line_without_end_is_refused(write):
    with pytest.raises(ManifestError, match="line 2 is longer than"):
        Manifest.from_csv(write("image,label\n" + "a" * (1 << 20) + ",1"))


def test_the_delimiter_is_one_character(write):
    with pytest.raises(ValueError, match="delimiter must be one character, got ', '"):
        Manifest.from_csv(write("image,label\na.jpg,1\n"), delimiter=", ")


def test_weights_and_classes_come_as_from_json(write):
    path = write("image,label,w\na.jpg,dog,0.5\nb.jpg,cat,2\n")
    manifest = Manifest.from_csv(path, weight_column="w", class_names=["dog", "cat", "cow"])
    assert manifest.labels.tolist() == [0, 1]
    assert manifest.class_counts.tolist() == [1, 1, 0]
    assert manifest.weights.tolist() == [0.5, 2.0]


NAMES = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8
)


@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=8), st.sampled_from(["\t", ",", ";"]))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows, delimiter):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["image", "label"])
    writer.writerows(rows.items())
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert pairs(Manifest.from_csv(path)) == list(rows.items())


def test_the_csv_module_s_own_words_hold_no_raw_delimiter(write):
    with pytest.raises(ManifestError) as caught:
        Manifest.from_csv(write('label\timage\n"a\n",b\tc\n', "train.tsv"))
    assert r"is not CSV: '\t' expected after '\"'." in str(caught.value).replace('"', '\\"')
    assert str(caught.value).isprintable()
