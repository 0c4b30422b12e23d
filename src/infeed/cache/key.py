"""Which source image is which."""

from __future__ import annotations

import hashlib
from typing import Final

from infeed.read import Stamp

# A file that was written within the granularity of its time stamps may be written again without
# a new one; FAT counts in 2 s.
_RACY_NS: Final = 2_000_000_000


def key_of_file(name: bytes, stamp: Stamp) -> bytes:
    """16 bytes that stand for a file as it was at a time: its name, size, modification time."""
    text = b"%d %d " % stamp + name
    return hashlib.blake2b(text, digest_size=16, person=b"infeed file").digest()


def key_of_content(data: bytes) -> bytes:
    """16 bytes that stand for these bytes, under any name."""
    return hashlib.blake2b(data, digest_size=16, person=b"infeed content").digest()


def is_fresh(stamp: Stamp, now: int) -> bool:
    """Whether a file was modified so lately that its stamp may not tell the next change.

    Args:
        now: `time.time_ns()`.
    """
    return abs(now - stamp.mtime_ns) < _RACY_NS
