"""Names and values that can steer nothing, and are no longer than a message."""

from __future__ import annotations

import re
from reprlib import Repr
from typing import Final

_SHOWN_CHARACTERS: Final = 120

# Looks at no more of a value than it shows: `repr` of a row may take gigabytes, and it fails on
# lists in lists in lists that JSON could still read.
_REPR: Final = Repr()
_REPR.maxlevel = 4
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = _SHOWN_CHARACTERS
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = 20

# What `str.isprintable` takes for visible and no eye sees: fillers, blanks that are symbols, and
# marks that choose between forms of the letter before them (Unicode: Default_Ignorable).
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def printable(name: str) -> str:
    """A name that cannot steer a terminal or a page: what is not visible is written as an escape.

    That goes for control characters, for those that turn the direction of writing or have no
    width, for line ends, for blanks that are no plain space, and for bytes of a name that are no
    text.

    >>> printable("苹果 叶.jpg"), printable("a\\x1b[2Jb\\n.jpg"), printable("\\udcff.jpg")
    ('苹果 叶.jpg', 'a\\\\x1b[2Jb\\\\n.jpg', '\\\\udcff.jpg')
    """
    if not name.isprintable():
        name = "".join(c if c.isprintable() else _escaped(c) for c in name)
    return name if name.isascii() else _UNSEEN.sub(lambda match: _escaped(match[0]), name)


def printable_lines(text: str) -> str:
    """The same of a text whose line ends are meant.

    >>> printable_lines("one\\ntwo\\x1b[2J\\n")
    'one\\ntwo\\\\x1b[2J\\n'
    """
    return "\n".join(map(printable, text.split("\n")))


def show(value: object) -> str:
    """`repr(value)`, cut where it is too long for a message; always printable.

    >>> show("x" * 1000)[-8:]
    "xxxx...'"
    """
    if isinstance(value, str | bytes):
        text = repr(value[:_SHOWN_CHARACTERS])
        if len(value) > _SHOWN_CHARACTERS:
            text += text[-1]  # longer than what is shown, whatever was cut
    else:
        try:
            text = _REPR.repr(value)
        except ValueError:  # an integer with more digits than Python writes
            text = f"a very large {type(value).__name__}"
    text = printable(text)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[: _SHOWN_CHARACTERS - 4]}...{text[-1]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
