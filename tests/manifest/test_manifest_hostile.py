"""Manifests that were made to do harm: a clear `ManifestError`, in bounded memory, at once."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import socket
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TextIO

import pytest

from infeed.errors import ManifestError
from infeed.manifest import Manifest
from infeed.manifest.place import listing
from infeed.manifest.text_file import TextFile
from infeed.printable import show

READERS = [Manifest.from_json, Manifest.from_csv, Manifest.open]
JSON = b'[{"image": "a.jpg", "label": 1}]'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "train.json") -> Path:
        path = tmp_path / name
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        path.write_bytes(data)
        return path

    return write


@contextmanager
def memory_below(megabytes: float) -> Iterator[None]:
    """Fails if Python's memory grows by more."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak < megabytes, f"{peak:.0f} MB"


def refusal(read: Callable[..., Manifest], *arguments: object, **options: object) -> str:
    with pytest.raises(ManifestError) as caught:
        read(*arguments, **options)
    text = str(caught.value)
    assert text.isprintable(), ascii(text)
    assert len(text) < 4000
    return text


# What is no plain file


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_is_refused_and_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "train.json")
    assert "is a pipe; expected a manifest file. Write what" in refusal(
        read, tmp_path / "train.json"
    )


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null", "/dev/tty"])
def test_a_device_without_end_is_refused_unread(read, device, tmp_path):
    (tmp_path / "train.json").symlink_to(device)
    assert "is a device" in refusal(read, device)
    assert "is a device" in refusal(read, tmp_path / "train.json")


@pytest.mark.parametrize("read", READERS)
def test_a_socket_a_loop_and_names_that_cannot_be_are_refused(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the address of a socket holds 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("train.json")
        assert "is a socket" in refusal(read, "train.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert "symbolic links" in refusal(read, "loop.json")
    assert "contains a NUL" in refusal(read, "a\0.json")
    assert "no such file" in refusal(read, "gone.json")
    assert "File name too long" in refusal(read, "x" * 3000)
    assert refusal(read, "/dev/null/train.json")


def test_a_pipe_as_the_folder_of_images_is_refused(write, tmp_path):
    path = write(JSON)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for folder, why in (
        (tmp_path / "pipe", "is not a folder"),
        ("/dev/zero", "is not a folder"),
        (tmp_path / "loop", "is not a folder"),
        ("a\0b", "does not exist"),
        ("x" * 5000, "does not exist"),
    ):
        assert why in refusal(Manifest.from_json, path, images=folder)


def test_a_working_folder_that_is_gone_is_no_further_trouble(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "the working folder is gone" in refusal(Manifest.from_json, "none.json")


# Files that change


def read_meanwhile(path: Path, change: Callable[[TextIO], object]) -> None:
    """Reads a file, to whose text something happens."""
    with TextFile(path).open() as text:
        change(text)
        text.read()


def test_a_file_that_grows_while_it_is_read_is_refused(write):
    path = write(JSON)

    def grow(text: TextIO) -> None:
        assert text.read(5) == '[{"im'
        with path.open("ab") as file:
            file.write(b" " * 100)

    with pytest.raises(ManifestError, match=r"was changed while it was read: it had 32 bytes and"):
        read_meanwhile(path, grow)


def test_a_file_that_grows_without_end_is_read_to_where_it_ended(write):
    path = write(b"\n" * 1000)
    lengths = []

    def grow(text: TextIO) -> None:
        with path.open("ab") as file:
            # A reader that does not end must fail here, and not fill the disk.
            while (line := text.readline()) and len(lengths) < 3000:
                lengths.append(len(line))
                file.write(b"\n" * 10)
                file.flush()

    with pytest.raises(ManifestError, match="was changed while it was read"):
        read_meanwhile(path, grow)
    assert sum(lengths) == 1000


def test_a_file_that_is_written_anew_while_it_is_read_is_refused(write):
    path = write(JSON)

    def write_anew(text: TextIO) -> None:
        path.write_bytes(JSON)
        os.utime(path, ns=(1, 1))  # clocks of files are coarse

    with pytest.raises(ManifestError, match="was changed while it was read"):
        read_meanwhile(path, write_anew)


def test_a_file_that_shrinks_while_it_is_read_is_refused(write):
    path = write(b"[" + b" " * 1_000_000)

    def shrink(text: TextIO) -> None:
        text.read(1)
        os.truncate(path, 10)

    with pytest.raises(ManifestError, match="had 1,000,001 bytes and has 10 now"):
        read_meanwhile(path, shrink)


def test_reading_leaves_no_descriptor_open(write, tmp_path):
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    path, bad = write(JSON), write(b"\xff\xff\xff", "bad.json")
    os.mkfifo(tmp_path / "pipe")
    before = descriptors()
    for _ in range(5):
        Manifest.from_json(path)
        for wrong in (bad, tmp_path / "pipe", tmp_path, tmp_path / "none"):
            refusal(Manifest.from_json, wrong)
    assert descriptors() == before


# Bytes that are no text


def packed(kind: str) -> bytes:
    if kind == "zip":
        file = BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("train.json", JSON)
        return file.getvalue()
    if kind == "zstd":
        return b"\x28\xb5\x2f\xfd" + bytes(20)
    return {"gzip": gzip, "bzip2": bz2, "xz": lzma}[kind].compress(JSON)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["gzip", "zip", "bzip2", "xz", "zstd"])
def test_a_compressed_file_is_named_as_such(read, kind, write):
    assert f"is compressed ({kind}); expected JSON or CSV text. Unpack" in refusal(
        read, write(packed(kind))
    )


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_text_of_another_width_is_refused_with_the_cure(read, encoding, write):
    assert 'pass encoding="utf-16"' in refusal(read, write(JSON.decode().encode(encoding)))


@pytest.mark.parametrize("read", READERS)
def test_nul_bytes_are_refused_wherever_they_stand(read, write):
    rows = b'image,label\n"a.jpg",1\n' if read is Manifest.from_csv else JSON
    assert "UTF-16 or no text" in refusal(read, write(b"\0" + rows))
    assert refusal(read, write(rows.replace(b"a.jpg", b"a\0.jpg")))


def test_a_sparse_file_of_a_terabyte_is_refused_at_once(write):
    for start, read in ((b"", Manifest.open), (b"[", Manifest.open), (b"a,b\n", Manifest.from_csv)):
        path = write(start)
        os.truncate(path, 1 << 40)
        with memory_below(40):
            refusal(read, path)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "cp1252"])
def test_a_byte_that_is_no_text_at_the_end_of_one_very_long_line_is_found(write, encoding):
    """Looking for the line must not read it as a whole."""
    head = '[{"image": "a.jpg", "label": 1},\n\n{"note": "'
    body = head + "x" * (24 << 20)
    wrong = {"utf-8": b"\xff", "gb18030": b"\xff", "utf-16": b"\x00\xd8a\x00", "cp1252": b"\x81"}
    path = write(body.encode(encoding) + wrong[encoding] + b'"}]')

    def read_in_pieces() -> None:
        with TextFile(path, encoding).open() as text:
            while text.read(1 << 16):
                pass

    with memory_below(60), pytest.raises(ManifestError, match=r"json, line 3: the text is not"):
        read_in_pieces()


@pytest.mark.parametrize("encoding", ["rot13", "zlib", "hex", "base64", "undefined"])
def test_an_encoding_that_makes_no_text_is_refused(encoding, write):
    with pytest.raises(ValueError, match="is not known to Python"):
        Manifest.from_json(write(JSON), encoding=encoding)


# Bombs


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"a":[', "[[[[", '[{"a":'])
@pytest.mark.parametrize("depth", [50, 300, 450, 480, 495, 500, 900, 1000, 10_000, 100_000])
@pytest.mark.parametrize("is_closed", [True, False])
def test_nesting_of_any_depth_is_a_manifest_error(write, opening, depth, is_closed):
    """Just below the limit of recursion it can be read, but not be shown as a whole."""
    closing = "".join({"[": "]", "{": "}"}[c] for c in reversed(opening) if c in "[{") * depth
    value = opening * depth + "1" + (closing if is_closed else "")
    text = refusal(Manifest.from_json, write(f'[{{"image": "a.jpg", "label": {value}}}]'))
    assert "row 1" in text
    refusal(Manifest.from_json, write(value))


@pytest.mark.parametrize("value", ["[[],", "[{},", '["a",', "[[0],", '[{"a":0},', "[1,", '["稻",'])
def test_one_row_that_is_never_complete_takes_little_memory(write, value):
    path = write('[{"image": "a.jpg", "label": [' + value[1:] * (4_000_000 // len(value)))
    with memory_below(200):
        assert "is longer than" in refusal(Manifest.from_json, path)


def test_a_row_with_a_million_keys_takes_no_longer_than_its_text(write):
    """Looking for the key that occurs twice must not compare all with all."""
    keys = ",".join(f'"{number}":0' for number in range(100_000))
    path = write(f'[{{{keys}, "99999": 0}}]')
    with memory_below(150):
        assert "key '99999' occurs twice" in refusal(Manifest.from_json, path)


def test_a_line_without_end_is_refused(write):
    path = write("image,label\n" + "a" * 9_000_000)
    with memory_below(20):
        assert "line 2 is longer than" in refusal(Manifest.from_csv, path)


@pytest.mark.parametrize("limit", [131_072, sys.maxsize >> 32])
@pytest.mark.parametrize(
    "rest",
    ['"' + "c.jpg,1\n" * 500_000, '"\n",' * 800_000, '"",' * 200_000 + '"' + "\n" * 2_500_000],
    ids=["quote", "fields", "both"],
)
def test_a_row_over_any_number_of_lines_is_refused(write, rest, limit):
    """Also where the program has lifted the csv module's own limit, as many do."""
    path = write("image,label\na.jpg,1\n" + rest)
    before = csv.field_size_limit(limit)
    try:
        with memory_below(150):
            text = refusal(Manifest.from_csv, path)
    finally:
        csv.field_size_limit(before)
    assert "row 2" in text
    assert "is not CSV" in text


def test_a_million_columns_are_no_trouble(write):
    columns = ",".join(f"c{number}" for number in range(100_000))
    path = write(f"{columns}\n{columns}\n")
    with memory_below(80):
        assert "(100000 in all)" in refusal(Manifest.from_csv, path)
    path = write("," * 1_000_000 + "\n" + "," * 1_000_000)
    with memory_below(80):
        assert "no column looks like image names" in refusal(Manifest.from_csv, path)


@pytest.mark.parametrize("start", ["", "image,label\n", "image,label\na.jpg,1\n"])
def test_blank_lines_without_end_are_refused(write, start):
    path = write(start + "\n" * 1_100_000)
    with memory_below(10):
        assert "1,000,000 blank lines one after the other" in refusal(Manifest.from_csv, path)


def test_a_million_blank_lines_here_and_there_are_fine(write):
    path = write(
        "\n" * 10 + "image,label\n" + ("\n" * 1000 + "{}.jpg,1\n").join(map(str, range(5)))
    )
    with pytest.raises(ManifestError, match=r"row 1 \(line 12\)"):
        Manifest.from_csv(write("\n" * 10 + "image,label\n,1\n"))
    with pytest.raises(ManifestError):
        Manifest.from_csv(path)


@pytest.mark.parametrize("digits", [4300, 4301, 100_000])
def test_integers_of_any_length_stay_text(write, digits):
    number = "9" * digits
    manifest = Manifest.from_json(write(f'[{{"image": "a.jpg", "label": {number}}}]'))
    assert manifest.class_names == (number,)
    assert Manifest.from_csv(write(f"image,label\na.jpg,{number}\n")).class_names == (number,)
    text = refusal(
        Manifest.from_json,
        write(f'[{{"image": "a.jpg", "label": 1, "w": {number}}}]'),
        weight_column="w",
    )
    assert "is not a finite number" in text


def test_an_integer_that_python_does_not_write_is_refused_by_row():
    text = refusal(Manifest.from_rows, ["a.jpg", "b.jpg"], [1, 10**5000])
    assert "row 2: the label has more digits than Python writes" in text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused_where_they_count(write, value):
    refusal(Manifest.from_json, write(f'[{{"image": "a.jpg", "label": {value}}}]'))
    refusal(Manifest.from_json, write(f'[{{"image": {value}, "label": 1}}]'))
    other = write(f'[{{"image": "a.jpg", "label": 1, "score": {value}}}]')
    assert len(Manifest.from_json(other)) == 1


# What messages show


NASTY = [
    "new\nline",
    "\r\x1b[2Jclear",
    "\x1b]8;;http:example.org\x07link\x1b]8;;\x07",
    "\x1b]0;title\x07",
    "\x9b31mred",
    "\u202egpj.exe",
    "\u2066isolate",
    "zero\u200bwidth",
    "no\xa0break",
    "line\u2028separator",
    "\udcff bytes",
    "\x7f\x08\x08",
    "\u3164\u115f\ufe0f",
    "\U000e0041tag",
]


@pytest.mark.parametrize("name", NASTY)
def test_a_file_with_any_name_has_messages_that_steer_nothing(tmp_path, name):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name.encode("utf-8", "surrogateescape")))
    for content in (b"", b"3", b"\xff", b"[{}]", b'[{"image": "a.jpg", "label": 1},]', b"\x1f\x8b"):
        path.write_bytes(content)
        for read in READERS:
            refusal(read, path)
    path.write_bytes(JSON)
    refusal(Manifest.from_json, path, images=tmp_path / name / name)
    refusal(Manifest.from_json(path).check_images)
    refusal(Manifest.from_folders, path)
    refusal(Manifest.open, path.parent / (name + "2"))
    refusal(Manifest.from_json(path).subset, [])
    assert repr(Manifest.from_json(path)).isprintable()
    path.unlink()
    path.mkdir()
    refusal(Manifest.from_folders, path)
    refusal(Manifest.from_json, path)
    refusal(Manifest.open, path, image_column=name)
    (path / name).mkdir()
    refusal(Manifest.from_folders, path)
    refusal(Manifest.from_folders, path, class_names=["a"])


@pytest.mark.parametrize("name", NASTY)
def test_whatever_stands_in_a_row_has_messages_that_steer_nothing(write, name):
    def rows(*rows: object) -> Path:
        return write(json.dumps(rows))

    good = {"image": "a.jpg", "label": "x"}
    for path in (
        rows({name: 1, "b": 2}),
        rows({name + "_label": 1, "label": 2, "image": "a.jpg"}),
        rows(good, {"image": name}),
        rows(good, {"image": name, "label": None}),
        rows(good, {"image": name, "label": [name]}),
        rows(good, {"image": name, "label": {name: name}}),
        rows({"image": name, "label": "x"}, {"image": name, "label": "x"}),
        rows(good, name),
        write(f'[{{"image": "a.jpg", "label": 1}}, {name}'),
        write(f'[{{"image": "a.jpg", "label": 1}}]{name}'),
        write(f'[{{"image": "a.jpg", {name}'),
    ):
        refusal(Manifest.from_json, path)
    refusal(Manifest.from_json, rows(good | {"w": name}), weight_column="w")
    refusal(Manifest.from_json, rows(good | {"label": name}), class_names=["x"])
    refusal(Manifest.from_json, rows(good | {"label": "x"}), image_column=name)
    refusal(Manifest.from_rows, ["a.jpg", name, name], [1, 2, 3])
    for text in (
        f"image,label\n{name},\n",
        f'image,label\n"{name}"x,1\n',
        f'image\tlabel\n"a"{name}\n',
        f"{name},b\n1,2\n",
        f"image,label\na,b,{name}\n",
    ):
        refusal(Manifest.from_csv, write(text))


def test_a_value_that_cannot_be_written_out_is_shown_all_the_same():
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    for value in (nested, 10**5000, {"a": nested}, "x" * 10**7, ["y" * 10**7], b"\0" * 10**7):
        with memory_below(1):
            assert len(show(value)) <= 120
    assert len(listing(["x" * 10**6] * 50)) < 3000
    while nested:  # else Python ends it by recursion
        nested = nested.pop()
