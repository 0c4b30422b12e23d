"""Names that can steer nothing."""

from __future__ import annotations


def printable(name: str) -> str:
    """A name that cannot steer a terminal or a page: what is not visible is written as an escape.

    That goes for control characters, for those that turn the direction of writing, and for bytes
    of a name that are no text.

    >>> printable("苹果 叶.jpg"), printable("a\\x1b[2Jb\\n.jpg"), printable("\\udcff.jpg")
    ('苹果 叶.jpg', 'a\\\\x1b[2Jb\\\\n.jpg', '\\\\udcff.jpg')
    """
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
