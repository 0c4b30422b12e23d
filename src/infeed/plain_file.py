"""What a file is that is no plain file, in words."""

from __future__ import annotations

import stat
from typing import Final

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def other_kind(mode: int) -> str | None:
    """What a file of that mode is, where it is no plain file; None where it is one.

    >>> other_kind(stat.S_IFIFO | 0o600), other_kind(stat.S_IFREG | 0o600)
    ('a pipe', None)
    """
    if stat.S_ISREG(mode):
        return None
    return next((word for is_kind, word in _KINDS if is_kind(mode)), "something else")
