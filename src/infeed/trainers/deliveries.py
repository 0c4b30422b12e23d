"""When batches were asked for and handed over: what a trainer's waiting is told from."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, NamedTuple, final

# Of more batches than these nobody lags behind.
_KEPT: Final = 4096


class Delivery(NamedTuple):
    """A batch on its way to a trainer. Times are seconds of `time.perf_counter`.

    Attributes:
        asked: when it was asked for.
        delivered: when it was handed over.
        thread: the thread that asked, of `threading.get_ident`.
    """

    asked: float
    delivered: float
    thread: int


@final
class Deliveries:
    """The latest deliveries of a data set; any number of readers keep their own place.

    A batch costs less than a microsecond here.
    """

    def __init__(self) -> None:
        self._latest: deque[Delivery] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        """How many there were."""
        return self._count

    def add(self, asked: float, delivered: float) -> None:
        """Notes a batch that the calling thread was given."""
        delivery = Delivery(asked, delivered, threading.get_ident())
        with self._lock:
            self._latest.append(delivery)
            self._count += 1

    def since(self, count: int) -> list[Delivery]:
        """Those after the first `count`, as far as they are still known."""
        with self._lock:
            new = min(self._count - count, len(self._latest))
            return [self._latest[-each] for each in range(new, 0, -1)]
