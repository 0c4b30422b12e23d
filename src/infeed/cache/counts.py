"""What a cache has done so far."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Self, final

from infeed.process_lock import ProcessLock


@final
@dataclass(frozen=True, slots=True)
class Counts:
    """What a cache shows at one moment. Subtract two for what happened between them.

    Attributes:
        hits: images that came from it.
        misses: images that had to be decoded.
        stored: images that were put into it.
        stored_by_others: images that another process has stored while they were decoded.
        not_stored: images that were decoded and could not be put into it, for whatever reason.
        damaged: kept images whose bytes were not what they should be; each also is a miss.
    """

    hits: int = 0
    misses: int = 0
    stored: int = 0
    stored_by_others: int = 0
    not_stored: int = 0
    damaged: int = 0

    def __add__(self, more: Self) -> Counts:
        return Counts(*(getattr(self, name) + getattr(more, name) for name in _NAMES))

    def __sub__(self, earlier: Self) -> Counts:
        return Counts(*(getattr(self, name) - getattr(earlier, name) for name in _NAMES))

    @property
    def hit_rate(self) -> float:
        """Hits over all images; 0 where there were none."""
        images = self.hits + self.misses
        return self.hits / images if images else 0.0


_NAMES: Final = tuple(field.name for field in fields(Counts))


@final
class Counter:
    """Counts that many threads add to."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._counts = dict.fromkeys(_NAMES, 0)

    def add(self, **more: int) -> None:
        """Adds to the fields of `Counts` that are named."""
        with self._lock.here():
            for name, count in more.items():
                self._counts[name] += count

    def read(self) -> Counts:
        """All counts at this moment."""
        with self._lock.here():
            return Counts(**self._counts)
