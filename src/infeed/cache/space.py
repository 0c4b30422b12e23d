"""How much room there is, on the disk and in memory."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Final

from infeed.cache.format import SUFFIX

SPARED_SHARE: Final = 0.05
SPARED_BYTES: Final = 2 * 1024**3
"""What the cache leaves free of a disk: 5 %, at most 2 GiB; backups and logs live there too."""

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?)B?\s*", re.IGNORECASE)


def parse_bytes(value: int | str) -> int:
    """A number of bytes, also written as `20GB` (10**9) or `20GiB` (2**30).

    Raises:
        ValueError: it is none.

    >>> parse_bytes("1.5 GB"), parse_bytes("2MiB"), parse_bytes(300)
    (1500000000, 2097152, 300)
    """
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match and (match[2] or not match[3]):
            units = _BINARY if match[3] else _UNITS
            return int(float(match[1]) * units[match[2].upper()])
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"a size is a number of bytes, such as 300000000 or '20GB', got {value!r}")


def format_bytes(count: float) -> str:
    """A size for people.

    >>> format_bytes(29_568_000_000), format_bytes(1_234_000), format_bytes(12)
    ('29.6 GB', '1.2 MB', '12 bytes')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def bytes_used(folder: Path) -> int:
    """The size of all segments below a cache folder, as far as they may be looked at."""
    total = 0
    with contextlib.suppress(PermissionError):
        for path in folder.glob(f"*/*{SUFFIX}"):
            with contextlib.suppress(OSError):  # removed meanwhile
                total += path.stat().st_size
    return total


def room_on_disk(folder: Path) -> int:
    """Bytes that a cache may still take of the disk that `folder` is on, which must exist.

    Raises:
        OSError: the system does not tell.
    """
    disk = os.statvfs(folder)
    spared = min(int(disk.f_blocks * disk.f_frsize * SPARED_SHARE), SPARED_BYTES)
    return max(0, disk.f_bavail * disk.f_frsize - spared)


def free_memory(*, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that could keep files in memory: available, and within this control group's limit.

    None where the system does not tell.

    Args:
        proc: where the process file system is; another folder in tests.
        cgroup: where the control group is, version 2 or 1.
    """
    try:
        text = (proc / "meminfo").read_text("utf-8")
    except OSError:
        return _physical_memory()
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        return _physical_memory()
    available = int(found[1]) * 1024
    for limit_file, used_file, stat_file in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit = int((cgroup / limit_file).read_text("utf-8"))
            used = int((cgroup / used_file).read_text("utf-8"))
            # What files occupy counts as used, and gives way.
            stat = (cgroup / stat_file).read_text("utf-8")
        except (OSError, ValueError):  # no such group, or "max"
            continue
        files = re.search(r"^(?:total_)?inactive_file (\d+)$", stat, re.MULTILINE)
        available = min(available, limit - used + (int(files[1]) if files else 0))
    return max(0, available)


def _physical_memory() -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
