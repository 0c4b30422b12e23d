"""Promises of Manifest.from_json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.errors import ManifestError
from infeed.manifest.columns import ColumnChoice
from infeed.manifest.from_json import read_json
from infeed.manifest.json_objects import JsonObjects
from infeed.manifest.manifest import Manifest
from infeed.manifest.rows import Rows
from infeed.manifest.text_file import TextFile

ROWS = [
    {"disease_class": 3, "image_id": "x.jpg"},
    {"disease_class": 10, "image_id": "稻瘟病 - 副本.JPG"},
    {"disease_class": 3, "image_id": "sub/y.jpg"},
]


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "train.json") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def contents(manifest: Manifest) -> list[tuple[str, str | None, float]]:
    records = [manifest.record(position) for position in range(len(manifest))]
    return [(record.uri, record.label_name, record.weight) for record in records]


EXPECTED = [("x.jpg", "3", 1.0), ("稻瘟病 - 副本.JPG", "10", 1.0), ("sub/y.jpg", "3", 1.0)]


def test_a_list_of_objects_is_read_without_naming_columns(write):
    manifest = Manifest.from_json(write(json.dumps(ROWS)))
    assert contents(manifest) == EXPECTED
    assert manifest.class_names == ("3", "10")
    assert manifest.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS, ensure_ascii=False),
        json.dumps(ROWS, indent=4).replace("\n", "\r\n"),
        "\ufeff" + json.dumps(ROWS),
        "\n".join(json.dumps(row) for row in ROWS),
        "\r\n\r\n".join(json.dumps(row) for row in ROWS) + "\r\n\r\n",
        "\ufeff" + "\n".join(json.dumps(row, indent=1) for row in ROWS),
    ],
    ids=["raw utf-8", "indented crlf", "bom", "lines", "blank lines", "indented lines"],
)
def test_every_spelling_of_the_same_rows_gives_the_same_manifest(write, text):
    plain = Manifest.from_json(write(json.dumps(ROWS), "plain.json"))
    assert Manifest.from_json(write(text)).fingerprint() == plain.fingerprint()


def test_utf_16_is_read_when_asked_for_and_refused_by_name_otherwise(write):
    path = write(json.dumps(ROWS, ensure_ascii=False).encode("utf-16"))
    assert contents(Manifest.from_json(path, encoding="utf-16")) == EXPECTED
    with pytest.raises(ManifestError, match=r'train\.json.*UTF-16.*encoding="utf-16"'):
        Manifest.from_json(path)


@pytest.mark.parametrize("label", ["NA", "null", "None", "NaN", "007", "1e3", " ", "-0", "3.0"])
def test_a_label_stays_the_text_that_it_is(write, label):
    rows = [{"image": "a.jpg", "label": label}, {"image": "b.jpg", "label": "other"}]
    if label == " ":
        with pytest.raises(ManifestError, match=r"row 1 \(line 1\): the label is missing \(' '\)"):
            Manifest.from_json(write(json.dumps(rows)))
    else:
        assert label in Manifest.from_json(write(json.dumps(rows))).class_names


def test_a_number_and_the_same_text_are_one_class(write):
    text = '[{"image": "a.jpg", "label": 7}, {"image": "b.jpg", "label": "7"}]'
    assert Manifest.from_json(write(text)).class_names == ("7",)


def test_an_integer_with_ten_thousand_digits_is_a_class_name(write):
    digits = "9" * 10_000
    manifest = Manifest.from_json(write(f'[{{"image": "a.jpg", "label": {digits}}}]'))
    assert manifest.class_names == (digits,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("null", "the label is missing ('label' is null)"),
        ("NaN", "the label is missing ('label' is NaN)"),
        ("-Infinity", "the label is missing ('label' is -Infinity)"),
        ('""', "the label is missing ('')"),
        ("true", "the label ('label') is true or false, True; expected an integer or text"),
        ("[1, NaN]", "the label ('label') is a list, ['1', NaN]; expected an integer or text"),
        ('{"a": 1}', "the label ('label') is an object"),
    ],
)
def test_a_label_that_is_none_is_refused_by_row_line_and_value(write, value, message):
    path = write(
        f'[{{"image": "a.jpg", "label": 1}},\n{{"image": "b.jpg",\n"label": {value}}},\n'
        f'{{"image": "c.jpg", "label": 1}}]'
    )
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(path)
    assert f"{path}, row 2 (line 2): {message}" in str(caught.value)


def test_a_row_without_the_label_key_is_refused(write):
    path = write('[{"image": "a.jpg", "label": 1},\n{"image": "b.jpg"}]')
    with pytest.raises(ManifestError, match=r"row 2 \(line 2\): no column 'label'.*has 'image'"):
        Manifest.from_json(path)


@pytest.mark.parametrize("value", ["null", "NaN", "true", "[]", "{}"])
def test_an_image_name_that_is_no_text_is_refused(write, value):
    path = write(f'[{{"image": {value}, "label": 1}}]')
    with pytest.raises(ManifestError, match=r"row 1 \(line 1\): the image name .*'image'"):
        Manifest.from_json(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the image name is empty ('')"),
        ("  ", "the image name is empty"),
        ("a\0.jpg", "contains a NUL character"),
        ("\ud83d.jpg", "half a surrogate pair"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused(write, name, message):
    path = write(json.dumps([{"image": "a.jpg", "label": 1}, {"image": name, "label": 1}]))
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(path)
    assert str(caught.value).startswith(f"{path}, row 2 (line 1): ")
    assert message in str(caught.value)


def test_names_that_lead_elsewhere_are_left_for_the_storage_to_judge(write):
    rows = [{"image": "/etc/a.jpg", "label": 1}, {"image": "../b.jpg", "label": 1}]
    assert len(Manifest.from_json(write(json.dumps(rows)))) == 2


def test_a_name_that_is_not_utf_8_survives_as_python_writes_it(write):
    name = b"\xb5\xbe.jpg".decode("utf-8", "surrogateescape")
    manifest = Manifest.from_json(write(json.dumps([{"image": name, "label": 1}])))
    assert manifest.uri(0) == name
    assert manifest.arena == b"\xb5\xbe.jpg"


def test_bytes_that_are_not_utf_8_are_refused_by_line_and_kept_on_request(write):
    path = write(b'[{"image": "a.jpg", "label": 1},\n{"image": "\xb5\xbe.jpg", "label": 1}]')
    with pytest.raises(ManifestError, match=r"line 2: the text is not utf-8.*gb18030"):
        Manifest.from_json(path)
    kept = Manifest.from_json(path, encoding_errors="surrogateescape")
    assert kept.arena == b"a.jpg\xb5\xbe.jpg"
    assert Manifest.from_json(path, encoding="gb18030").uri(1) == "稻.jpg"


def test_unknown_encodings_are_refused(write):
    with pytest.raises(ValueError, match="'utf-99' is not known"):
        Manifest.from_json(write("[]"), encoding="utf-99")
    with pytest.raises(ValueError, match="'ignore'"):
        Manifest.from_json(write("[]"), encoding_errors="ignore")


def test_a_key_twice_in_a_row_is_refused(write):
    path = write('[{"image": "a.jpg", "label": 1, "label": 2}]')
    with pytest.raises(ManifestError, match=r"row 1 \(line 1\): key 'label' occurs twice"):
        Manifest.from_json(path)


@pytest.mark.parametrize("text", ["", "  \r\n", "[]", " [ ] \n", "\ufeff"])
def test_an_empty_manifest_is_refused(write, text):
    with pytest.raises(ManifestError, match=r"train\.json: there are no rows"):
        Manifest.from_json(write(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "line 1: expected a JSON list of objects, or one object a line; found '3'"),
        ("image,label\na.jpg,1", "found 'image,label"),
        ('[\n"a.jpg"]', "row 1 (line 2) is not an object: '\"a.jpg\"]'"),
        ('[{"image": "a.jpg", "label": 1},\n[1]]', "row 2 (line 2) is not an object"),
        ('[{"image": "a.jpg", "label": 1},\n]', "row 1 (line 2) is the last, but a comma"),
        ('[{"image": "a.jpg", "label": 1}\n{}]', "expected ',' or ']' after row 1, found '{}]'"),
        ('[{"image": "a.jpg", "label": 1}]\n[]', "line 2: '[]' follows the end of the list"),
        ('[{"image": "a.jpg",\n"label": 1,}]', "row 1 (line 1) is not JSON"),
        ("[{'image': 'a.jpg'}]", "row 1 (line 1) is not JSON"),
        ('{"image": "a.jpg", "label": 1},\n{}', "row 2 (line 1) is not an object: ',"),
        ('{"images": [{"id": 1}], "annotations": []}', "expected a JSON list of flat objects"),
    ],
)
def test_text_of_another_form_is_refused_with_what_was_found(write, text, message):
    with pytest.raises(ManifestError) as caught:
        Manifest.from_json(write(text))
    assert message in str(caught.value)


def test_wherever_a_file_is_cut_off_the_message_says_so(write):
    text = json.dumps(ROWS, ensure_ascii=False, indent=1).encode()
    for size in range(1, len(text)):
        with pytest.raises(ManifestError, match=r"cut off|no rows"):
            Manifest.from_json(write(text[:size]))


def test_the_place_where_a_file_is_cut_off_is_named(write):
    text = "[" + ",\n".join(json.dumps(row) for row in ROWS)
    with pytest.raises(ManifestError, match=r"ends in line 3, after row 3, .* it is cut off"):
        Manifest.from_json(write(text))
    with pytest.raises(ManifestError, match=r"ends in line 3, in row 3, .* it is cut off"):
        Manifest.from_json(write(text[:-5]))


@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_nesting_is_refused_and_does_not_overflow(write, opening):
    path = write('[{"image": "a.jpg", "label": ' + opening * 100_000)
    with pytest.raises(ManifestError, match=r"row 1 \(line 1\).*(nested too deeply|cut off)"):
        Manifest.from_json(path)


def test_a_row_without_end_is_refused_before_it_fills_the_memory(write):
    path = write('[{"image": "' + "a" * (1 << 25))
    with pytest.raises(ManifestError, match=r"row 1 \(line 1\) is longer than"):
        Manifest.from_json(path)


def test_rows_longer_than_a_chunk_are_read(write):
    rows = [{"image": f"{i}.jpg", "label": i, "note": "稻" * 300_000} for i in range(4)]
    manifest = Manifest.from_json(write(json.dumps(rows, ensure_ascii=False)))
    assert manifest.class_names == ("0", "1", "2", "3")


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=3),
            st.recursive(st.none() | st.booleans() | st.text(max_size=5) | st.integers(), st.lists),
            max_size=3,
        ),
        max_size=5,
    ),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_objects_are_the_same_in_whatever_chunks_the_text_comes(rows, size, indent, in_list):
    class Chunks:
        def __init__(self, text: str) -> None:
            self.text = text

        def read(self, _: int) -> str:
            chunk, self.text = self.text[:size], self.text[size:]
            return chunk

    if in_list:
        text = json.dumps(rows, indent=indent)
    else:
        text = "\n".join(json.dumps(row, indent=indent) for row in rows)
    decoder = json.JSONDecoder(parse_int=str, object_pairs_hook=tuple)
    expected = [decoder.decode(json.dumps(row)) for row in rows]
    assert [pairs for pairs, _ in JsonObjects(Chunks(text), "text")] == expected


def test_reading_holds_no_more_than_a_chunk_of_the_file(tmp_path):
    """Its rows arrive in the table before the rest of the file is read."""
    path = tmp_path / "train.json"
    rows = [{"image": f"{i:07}.jpg", "label": 1} for i in range(50_000)]
    path.write_text(json.dumps(rows) + "no JSON")
    table = Rows("train.json", labelled=True, weighted=False)
    with pytest.raises(ManifestError, match="'no JSON' follows the end of the list"):
        read_json(TextFile(path), ColumnChoice(), table)
    assert len(table) == 50_000


def test_weights_are_read_as_float32(write):
    rows = [{"image": "a.jpg", "label": 1, "w": 0.1}, {"image": "b.jpg", "label": 1, "w": "2"}]
    manifest = Manifest.from_json(write(json.dumps(rows)), weight_column="w")
    assert manifest.weights.tolist() == pytest.approx([0.1, 2.0])
    assert manifest.record(1).weight == 2.0


@pytest.mark.parametrize("weight", ["-1", "1e39", '"x"', "NaN", "null", "true", '""', '"inf"'])
def test_a_weight_that_is_not_finite_and_positive_is_refused(write, weight):
    path = write(f'[{{"image": "a.jpg", "label": 1, "w": {weight}}}]')
    with pytest.raises(ManifestError, match=r"row 1 \(line 1\): (the )?weight"):
        Manifest.from_json(path, weight_column="w")


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.json: there is no such file"):
        Manifest.from_json(tmp_path / "none.json")
    with pytest.raises(ManifestError, match=r"is a folder; expected a manifest file.*from_folders"):
        Manifest.from_json(tmp_path)


def test_an_image_folder_that_is_missing_is_refused_at_once(write, tmp_path):
    path = write(json.dumps(ROWS))
    with pytest.raises(ManifestError, match=r"image folder '.*none' does not exist"):
        Manifest.from_json(path, images=tmp_path / "none")
    with pytest.raises(ManifestError, match=r"image folder '.*train\.json' is not a folder"):
        Manifest.from_json(path, images=path)
