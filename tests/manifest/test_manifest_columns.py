"""Promises about the columns that are found."""

from __future__ import annotations

import pytest

from infeed.errors import ManifestError
from infeed.manifest.columns import ColumnChoice, Columns


@pytest.mark.parametrize(
    ("row", "image", "label"),
    [
        ({"disease_class": "3", "image_id": "x.jpg"}, "image_id", "disease_class"),
        ({"Image ID": "x", "Label": "3"}, "Image ID", "Label"),
        ({"filename": "x.jpg", "target": "3", "width": "4"}, "filename", "target"),
        ({"file_name": "x.jpg", "text": "a dog"}, "file_name", "text"),
        ({"path": "x.jpg", "category": "3", "id": "7"}, "path", "category"),
        ({"foo": "3", "bar": "x.PNG"}, "bar", "foo"),
        ({"image_id": "17", "path": "x.jpg", "label": "3"}, "path", "label"),
        ({"a": "x.jpg", "b": "4", "label": "3"}, "a", "label"),
        ({"image": "x.jpg", "class_name": "dog"}, "image", "class_name"),
    ],
)
def test_columns_are_found_where_only_one_could_be_meant(row, image, label):
    assert ColumnChoice().find(row, source="m") == Columns(image, label, None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"image": "x.jpg", "path": "a/x.jpg", "label": "3"},
            (
                "m: 'image', 'path' could each be the image column; columns are 'image', 'path', "
                "'label'. Pass image_column=<column name>."
            ),
        ),
        (
            {"a": "1", "b": "2"},
            (
                "m: no column looks like image names; columns are 'a', 'b'. "
                "Pass image_column=<column name>."
            ),
        ),
        ({}, "m: no column looks like image names; columns are (none)."),
        (
            {"image": "x.jpg", "label": "3", "category": "4"},
            (
                "m: 'label', 'category' could each be the label column; columns are 'image', "
                "'label', 'category'. Pass label_column=<column name>, or labelled=False if it has "
                "none."
            ),
        ),
        ({"image": "x.jpg"}, "m: no column looks like labels; columns are 'image'. Pass label"),
        ({"image": "x.jpg", "w": "1", "h": "2"}, "m: no column looks like labels"),
    ],
)
def test_columns_that_are_not_clear_are_asked_for(row, message):
    with pytest.raises(ManifestError) as caught:
        ColumnChoice().find(row, source="m")
    assert str(caught.value).startswith(message)


def test_columns_that_are_given_are_taken_and_help_to_find_the_rest():
    row = {"image": "x.jpg", "path": "y.jpg", "label": "3", "w": "1"}
    choice = ColumnChoice(image="path", weight="w")
    assert choice.find(row, source="m") == Columns("path", "label", "w")
    row = {"image": "x.jpg", "extra": "1", "w": "1"}
    assert ColumnChoice(weight="w").find(row, source="m") == Columns("image", "extra", "w")
    assert ColumnChoice(labelled=False).find(row, source="m") == Columns("image", None, None)


@pytest.mark.parametrize("argument", ["image", "label", "weight"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(argument):
    with pytest.raises(ManifestError) as caught:
        ColumnChoice(**{argument: "no"}).find({"image": "x.jpg", "label": "1"}, source="m")
    assert str(caught.value) == (
        f"m: no column 'no'; columns are 'image', 'label'. Pass {argument}_column=<column name>."
    )


def test_a_label_column_and_no_labels_contradict_each_other():
    with pytest.raises(ValueError, match="label_column='a' contradicts labelled=False"):
        ColumnChoice(label="a", labelled=False)
