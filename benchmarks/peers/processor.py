"""Who uses the processor: this process and its children, others, or the host of this machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

# A loader that has nothing else running beside it on 2 cores shows 1 to 3 %: the kernel's own.
QUIET_SHARE = 0.10
QUIET_STEAL = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """What the cores did over a while, as shares of all cores.

    Attributes:
        own_cpu_seconds: of this process and its children, resolution 10 ms.
        own_system_seconds: the part of it that was spent in the kernel: reads, page faults, locks.
        others: share of other processes.
        steal: share that the host kept for others.
    """

    own_cpu_seconds: float
    own_system_seconds: float
    others: float
    steal: float

    @property
    def quiet(self) -> bool:
        """Whether a figure that was measured meanwhile may be trusted."""
        return self.others <= QUIET_SHARE and self.steal <= QUIET_STEAL


class Watch:
    """Says what the cores did since it was made."""

    def __init__(self) -> None:
        self._start = _machine()
        self._own = _own_ticks()

    def load(self) -> Load:
        """Since this watch was made."""
        busy, steal, total = (now - then for now, then in zip(_machine(), self._start, strict=True))
        user, system = (now - then for now, then in zip(_own_ticks(), self._own, strict=True))
        total = max(total, 1)
        return Load(
            own_cpu_seconds=(user + system) / _TICKS,
            own_system_seconds=system / _TICKS,
            others=max(0.0, (busy - user - system) / total),
            steal=steal / total,
        )


def wait_until_quiet(seconds: float) -> Load:
    """Looks at the machine for half a second at a time until it is quiet.

    Args:
        seconds: how long to wait at most; the last look is returned then.
    """
    end = time.monotonic() + seconds
    while True:
        watch = Watch()
        time.sleep(0.5)
        load = watch.load()
        if load.quiet or time.monotonic() >= end:
            return load


def _machine() -> tuple[int, int, int]:
    """Ticks of all cores since the start: (busy, stolen, all)."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, waiting, hard, soft, steal = map(int, words)
    busy = user + nice + system + hard + soft
    return busy, steal, busy + idle + waiting + steal


def _own_ticks() -> tuple[int, int]:
    """Ticks of this process, of its living descendants, and of those that they have reaped.

    Returns:
        (outside the kernel, inside).
    """
    user = system = 0
    left = [os.getpid()]
    while left:
        process = left.pop()
        try:
            # The name, which may hold anything, ends at the last bracket.
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            for task in Path(f"/proc/{process}/task").iterdir():
                left += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile: its parent has its ticks
        user += int(words[11]) + int(words[13])
        system += int(words[12]) + int(words[14])
    return user, system
