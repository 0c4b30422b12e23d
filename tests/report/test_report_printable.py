"""Whatever a name holds, it is shown, and steers nothing."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.report.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("苹果 - 副本.jpg", "苹果 - 副本.jpg"),
        ("é e\u0301 ك ☘ 🌱", "é e\u0301 ك ☘ 🌱"),
        ("\x1b]8;;http://x\x07", r"\x1b]8;;http://x\x07"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u200b\u200d\ufeff\xad", r"\u200b\u200d\ufeff\xad"),
        ("\xa0\u3000\u2028", r"\xa0\u3000\u2028"),
        ("\u3164\u115f\u2800\ufe0f\u034f", r"\u3164\u115f\u2800\ufe0f\u034f"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("\udcff\ud800", r"\udcff\ud800"),
    ],
)
def test_a_name_is_shown_as_it_is_or_by_escapes(name, shown):
    assert printable(name) == shown


@given(st.text(st.characters()))
def test_what_is_shown_is_visible_and_stays_so(name):
    shown = printable(name)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert len(shown) >= len(name)


def test_no_character_that_moves_hides_or_turns_writing_is_shown_as_it_is():
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert printable(letter).isascii(), hex(code)


def test_line_ends_that_are_meant_stay():
    assert printable_lines("a\nb\r\n\x1b[A") == "a\nb\\r\n\\x1b[A"
