"""The engine: work done ahead of its reader, by threads, delivered in order."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from infeed.errors import LoaderClosedError
from infeed.stream.crew import Crew
from infeed.stream.meter import Meter
from infeed.stream.watch import Watch
from infeed.stream.work import Work

T = TypeVar("T")
Tool = TypeVar("Tool")


class Window(Generic[Tool, T]):
    """A bounded number of works under way, delivered in the order of the schedule.

    Threads start at the first `start()` or `next()`, take parts in order, and end when the
    schedule is exhausted, when the window is closed, or after `IDLE_SECONDS` with nothing
    to do (a full window whose reader is busy). They are daemons and hold no reference to
    this object: when it is collected they end, and before the interpreter exits they are
    joined.

    Args:
        schedule: the works to do, in order; may be endless. Asked under a lock, one by one,
            as places in the window become free; so it should be quick.
        make_tool: called once by each thread; its result is handed to every `Work.make`.
        threads: how many threads at most, from 1.
        depth: how many works may be under way or ready at once, from 1.
        meter: where waiting, work and planning are counted.
        watch_of: the watch of a thread's tool; None where threads never wait for anything outside.
        timeout_seconds: how long such a wait may last before the thread is given up and its part
            is made by another one, or, where the work cannot do without, `next` raises; None: for
            ever. Looked at while the reader waits.
        name: a word in the names of the threads, `infeed-<name>-<number>`.
    """

    def __init__(
        self,
        schedule: Iterator[Work[Tool, T]],
        make_tool: Callable[[], Tool],
        *,
        threads: int,
        depth: int,
        meter: Meter,
        watch_of: Callable[[Tool], Watch] | None = None,
        timeout_seconds: float | None = None,
        name: str = "window",
    ) -> None:
        if threads < 1 or depth < 1:
            raise ValueError(f"threads and depth must be at least 1, got {threads} and {depth}")
        self._crew = Crew(
            schedule,
            make_tool,
            threads=threads,
            depth=depth,
            watch_of=watch_of,
            timeout_seconds=timeout_seconds,
            meter=meter,
            name=name,
        )
        self._meter = meter
        self._delivered = 0
        # The collector must not wait: it may run in a thread that holds a lock which the
        # crew's threads need.
        self._stopper = weakref.finalize(self, self._crew.stop)
        self._stopper.atexit = False

    def start(self) -> None:
        """Begins to fill the window without waiting for anything."""
        self._crew.start()

    def next(self) -> T:
        """The next result in order; waits until it is made.

        Raises:
            StopIteration: the schedule is exhausted.
            LoaderClosedError: the window was closed.
            StalledError: a thread has waited too long for what the work cannot do without.
            Exception: whatever this work raised, a part of it or its result, with its own
                traceback. The window is closed then.
        """
        begin = time.perf_counter()
        if self._crew.is_abroad():
            raise LoaderClosedError(
                "this epoch was opened in another process, whose threads a fork does not bring "
                "along: open one in this process"
            )
        try:
            work = self._crew.take()
            made = time.perf_counter()
            result = work.result()
        except StopIteration:
            raise
        except BaseException:
            # Also where it is the result: that work is gone, and must not be passed over.
            self.close()
            raise
        self._meter.add_delivery(
            wait=made - begin, hand_over=time.perf_counter() - made, first=self._delivered == 0
        )
        self._delivered += 1
        return result

    def stop(self) -> None:
        """Tells the threads to end, without waiting; may be called wherever `close` may."""
        self._crew.stop()

    def close(self) -> None:
        """Ends the threads and waits for them: at most for the part that each has in hand.

        A thread that waits for something outside is given up after `CLOSING_SECONDS`.
        May be called at any time, from any thread, and more than once.
        """
        self._crew.close()
