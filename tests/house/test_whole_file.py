"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os

import pytest

from infeed.whole_file import remove_partial_files, write_json, write_text, write_whole


def test_names_that_are_no_text_come_back_from_json_as_they_were(tmp_path):
    names = {"叶": os.fsdecode(b"\xff.jpg"), "escape": "\x1b[2J", "quote": '"\\udcff"'}
    write_json(tmp_path / "names.json", names)
    text = (tmp_path / "names.json").read_text("utf-8")
    assert json.loads(text) == names
    assert "叶" in text


def test_a_file_that_is_written_by_half_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", "utf-8")

    def write(partial):
        partial.write_text("ne", "utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, write)
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text("utf-8") == "old"


def test_two_who_write_a_file_at_once_are_not_in_each_others_way(tmp_path):
    path = tmp_path / "a.txt"

    def write(partial):
        partial.write_text("ours", "utf-8")
        write_text(path, "the other's")

    write_whole(path, write)
    assert path.read_text("utf-8") == "ours"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_process_was_writing_is_found_by_its_number(tmp_path):
    def write(partial):
        partial.touch()
        remove_partial_files(tmp_path, process=os.getpid() + 1)
        assert partial.exists()
        remove_partial_files(tmp_path, process=os.getpid())
        assert not partial.exists()
        partial.touch()

    write_whole(tmp_path / "a.txt", write)


def test_a_folder_that_is_gone_is_named_with_the_cure(tmp_path):
    with pytest.raises(OSError, match=r"gone/a.json cannot be written: No such file.* another"):
        write_json(tmp_path / "gone" / "a.json", {})


def test_what_is_not_visible_is_an_escape_of_json_and_comes_back(tmp_path):
    value = {
        "\x9b31m\x7f": ["\u202egpj", "\u200b\u2028\xa0", "\U000e0041", "\ud83d", "稻 é ☘"],
        "line\nand\ttab": 1.5,
    }
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text("utf-8")
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()
    assert "稻 é ☘" in text
