"""`Watch`: a thread that waits for something outside can be given up, and does no harm then."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from time import monotonic
from typing import NamedTuple, final


class GivenUp(BaseException):
    """Ends a thread that was given up while it waited; others have its work by now."""


class Wait(NamedTuple):
    """What a thread waits for.

    Attributes:
        what: names it to whoever made the thread.
        since: `time.monotonic()` when it began.
        is_optional: whether the work can be done without it.
    """

    what: Hashable
    since: float
    is_optional: bool


@final
class Watch:
    """What one thread waits for; looked at by others.

    A read from a network disk that is gone never returns, and nothing can end the thread that is
    inside. So the thread says when it enters such a call and when it leaves it; in between it can
    be given up. It then raises `GivenUp` before it touches anything that others have by now.

    Args:
        stuck: what given-up threads still wait for; shared by all watches of a loader.
    """

    __slots__ = ("_is_given_up", "_lock", "_stuck", "_waits")

    def __init__(self, stuck: set[Hashable]) -> None:
        self._stuck = stuck
        self._lock = threading.Lock()
        self._waits: list[Wait] = []
        self._is_given_up = False

    @property
    def wait(self) -> Wait | None:
        """What the thread waits for now; None while it works."""
        with self._lock:
            return self._waits[-1] if self._waits else None

    def enter(self, what: Hashable, *, is_optional: bool = True) -> None:
        """Says that a wait begins; it may be within another one."""
        wait = Wait(what, monotonic(), is_optional)
        with self._lock:
            self._waits.append(wait)

    def leave(self) -> None:
        """Says that it is over.

        Raises:
            GivenUp: the thread was given up meanwhile.
        """
        with self._lock:
            wait = self._waits.pop()
            if not self._is_given_up:
                return
        self._stuck.discard(wait.what)
        raise GivenUp

    def give_up(self, wait: Wait) -> bool:
        """Gives the thread up; False if it no longer waits for this."""
        with self._lock:
            if not self._waits or self._waits[-1] is not wait:
                return False
            self._is_given_up = True
            self._stuck.add(wait.what)
            return True
