"""`Watch`: a thread that waits for something outside can be given up, and does no harm then."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import NamedTuple, final

_here = threading.local()


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

    __slots__ = ("_given_up", "_lock", "_stuck", "_waits")

    def __init__(self, stuck: set[Hashable]) -> None:
        self._stuck = stuck
        self._lock = threading.Lock()
        self._waits: list[Wait] = []
        self._given_up = threading.Event()

    @property
    def wait(self) -> Wait | None:
        """What the thread waits for now; None while it works."""
        with self._lock:
            return self._waits[-1] if self._waits else None

    def watch_this_thread(self) -> None:
        """Makes it the watch of the calling thread, for `pause`."""
        _here.watch = self

    def pause(self, seconds: float) -> bool:
        """Waits; ends early, with True, when the thread is given up."""
        return self._given_up.wait(seconds)

    def enter(self, what: Hashable, *, is_optional: bool = True) -> None:
        """Says that a wait begins; it may be within another one."""
        wait = Wait(what, time.monotonic(), is_optional)
        with self._lock:
            self._waits.append(wait)

    def leave(self) -> None:
        """Says that it is over.

        Raises:
            GivenUp: the thread was given up meanwhile.
        """
        with self._lock:
            wait = self._waits.pop()
            if not self._given_up.is_set():
                return
        self._stuck.discard(wait.what)
        raise GivenUp

    def give_up(self, wait: Wait, *, is_stuck: bool = True) -> bool:
        """Gives the thread up; False if it no longer waits for this.

        Args:
            is_stuck: whether others shall not wait for it either until it comes back.
        """
        with self._lock:
            if not self._waits or self._waits[-1] is not wait:
                return False
            self._given_up.set()
            if is_stuck:
                self._stuck.add(wait.what)
            return True


def pause(seconds: float) -> bool:
    """Waits in the calling thread; ends early, with True, when that is given up.

    For whatever waits inside a watched call and knows nothing of the watch.
    """
    watch: Watch | None = getattr(_here, "watch", None)
    if watch is not None:
        return watch.pause(seconds)
    time.sleep(seconds)
    return False
