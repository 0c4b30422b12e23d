"""The threads of a window: how they get their parts, and how they end."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from infeed.errors import LoaderClosedError, StalledError
from infeed.stream.meter import Meter
from infeed.stream.watch import GivenUp, Watch
from infeed.stream.work import Entry, Nothing, Work

# A thread that found nothing to do for this long ends; the next request starts another. Long
# enough to outlive most training steps, short enough that nothing lingers after `fit`.
IDLE_SECONDS = 1.0

# `close` waits so long for a thread that waits for something outside, and then leaves it to itself.
CLOSING_SECONDS = 1.0

T = TypeVar("T")
Tool = TypeVar("Tool")


class Hand(Generic[Tool, T]):
    """What a thread has in hand."""

    def __init__(self, entry: Entry[Tool, T], part: int, watch: Watch | None) -> None:
        self.entry = entry
        self.part = part
        self.watch = watch


class _Turn:
    """One thread between two parts.

    Attributes:
        call: where it waits to be called.
        plan: seconds in which it opened works since then.
    """

    __slots__ = ("call", "plan")

    def __init__(self, lock: threading.RLock) -> None:
        self.call = threading.Condition(lock)
        self.plan = 0.0


class Crew(Generic[Tool, T]):
    """What the threads share. Everything below `_lock` is read and written under it.

    One thread is called for a part that nobody has taken, the one that became idle last first. So
    those which are not needed stay idle, and end.
    """

    def __init__(
        self,
        schedule: Iterator[Work[Tool, T]],
        make_tool: Callable[[], Tool],
        *,
        threads: int,
        depth: int,
        watch_of: Callable[[Tool], Watch] | None,
        timeout_seconds: float | None,
        meter: Meter,
        name: str,
    ) -> None:
        self._process = os.getpid()
        self._make_tool = make_tool
        self._watch_of = watch_of
        self._timeout = timeout_seconds
        self._limit = threads
        self._depth = depth
        self._meter = meter
        self._name = name
        # Re-entrant, because the collector may run `stop` in a thread that holds it.
        self._lock = threading.RLock()
        self._ready = threading.Condition(self._lock)  # the reader waits here
        self._idle: list[threading.Condition] = []  # each with a thread that waits to be called
        self._schedule = schedule
        self._window: deque[Entry[Tool, T]] = deque()
        self._threads: list[threading.Thread] = []  # started, not given up
        self._running: set[threading.Thread] = set()  # of these, the ones that are at it
        self._ended = threading.Condition(self._lock)  # who waits for them to end waits here
        self._hands: dict[threading.Thread, Hand[Tool, T]] = {}
        self._alive = 0  # of these, the ones that have not come to their end
        self._active = 0  # of these, the ones that work, or are about to claim a part
        self._called = 0  # of these, the ones that have not come to it since they were called
        self._started = 0
        self._exhausted = False
        self._closed = False

    def is_abroad(self) -> bool:
        """Whether this process was forked off the one that the threads live in."""
        return os.getpid() != self._process

    def start(self) -> None:
        with self._lock:
            if self._closed:
                raise LoaderClosedError("this epoch has ended: open another one")
            self._call_threads()

    def take(self) -> Work[Tool, T]:
        """The first work of the window, once it is made; frees its place."""
        with self._lock:
            while True:
                self.start()
                if self._window and self._window[0].is_done:
                    break
                if not self._window and self._exhausted:
                    raise StopIteration
                self._ready.wait(self._give_up_overdue())
            entry = self._window.popleft()
            self._call_threads()
        if entry.error is None:
            return entry.work
        try:
            raise entry.error
        finally:
            # Its traceback has this frame, which would have it, and with it the failed work.
            del entry

    def stop(self) -> None:
        """Tells the threads to end; waits for nothing."""
        if self.is_abroad():
            return  # no threads here, and the lock may be held by one that is not here
        with self._lock:
            self._closed = True
            self._exhausted = True
            self._window.clear()
            self._schedule = iter(())
            self._call_all()
            self._ready.notify_all()

    def close(self) -> None:
        """Tells the threads to end, and waits until they have."""
        self.stop()
        if self.is_abroad():
            return
        end = time.monotonic() + CLOSING_SECONDS
        with self._lock:
            # They stay on the list: this call may be ended by a Ctrl-C, and others may close, too.
            threads = self._threads.copy()
        for thread in threads:
            if thread is not threading.current_thread() and self._has_ended(thread, end):
                thread.join()

    def _has_ended(self, thread: threading.Thread, end: float) -> bool:
        """Waits for that; False where it was given up, or never began."""
        with self._lock:
            # Not by `join`: where a Ctrl-C ends that, Python 3.11 takes the thread for ended, and
            # nobody can wait for it any more.
            while thread in self._running:
                left = end - time.monotonic()
                if left <= 0 and self._is_left(thread):
                    return False
                self._ended.wait(max(0.01, left))
            return thread in self._threads and thread.is_alive()

    def _is_left(self, thread: threading.Thread) -> bool:
        """Gives a thread up that waits for something outside."""
        hand = self._hands.get(thread)
        if hand is None or hand.watch is None:
            return False
        wait = hand.watch.wait
        # It may be as quick as ever: only the reader is in a hurry. The next stream waits for it.
        if wait is None or not hand.watch.give_up(wait, is_stuck=False):
            return False
        self._part_with(thread)
        return True

    def _give_up_overdue(self) -> float | None:
        """Gives threads up that have waited too long; seconds until the next look, None: never.

        Raises:
            StalledError: one waits for what its work cannot do without.
        """
        if self._timeout is None or self._watch_of is None:
            return None
        now = time.monotonic()
        next_look = self._timeout
        for thread, hand in list(self._hands.items()):
            wait = None if hand.watch is None else hand.watch.wait
            if hand.watch is None or wait is None:
                continue
            left = wait.since + self._timeout - now
            if left > 0:
                next_look = min(next_look, left)
            elif hand.watch.give_up(wait):
                self._part_with(thread)
                if not wait.is_optional:
                    raise StalledError(
                        f"{wait.what} has not answered for {self._timeout:g} seconds "
                        "(read_timeout_seconds). Is the disk or the network that it is on alive?"
                    )
                # Or it would be waited for again, and given up again, and so on for ever.
                hand.entry.work.give_up(wait.what)
                hand.entry.again.append(hand.part)
                self._call_threads()
        return max(next_look, 0.01)

    def _part_with(self, thread: threading.Thread) -> None:
        """Counts a thread out that was given up; it ends by itself if it ever comes back."""
        del self._hands[thread]
        if thread in self._threads:
            self._threads.remove(thread)
        self._active -= 1
        self._count_out(thread)

    def _count_out(self, thread: threading.Thread) -> None:
        self._running.discard(thread)
        self._ended.notify_all()
        self._alive -= 1
        if not self._alive:
            atexit.unregister(self.close)

    def _start_thread(self) -> None:
        name = f"infeed-{self._name}-{self._started}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started += 1
        # Counted before: a Ctrl-C may come while it starts, and it must be joined all the same.
        self._active += 1
        self._called += 1
        if not self._alive:
            # A daemon thread that is inside a codec when the interpreter goes down may
            # abort the process. So whoever has threads has them joined before that.
            atexit.register(self.close)
        self._alive += 1
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        try:
            thread.start()  # it needs the lock before it touches any of this
        except RuntimeError:
            self._threads.remove(thread)
            self._called -= 1
            self._active -= 1
            self._count_out(thread)
            raise

    def _call_threads(self) -> None:
        """Has as many threads work as find something to do: idle ones first, then new ones."""
        while self._active < self._limit and self._called < self._parts_to_take():
            if self._idle:
                self._call(self._idle.pop())
                continue
            try:
                self._start_thread()
            except RuntimeError:
                # The system gives no more threads: fewer will do, none will not.
                if not self._active:
                    raise
                return

    def _call_all(self) -> None:
        """For a moment when each thread has to look by itself whether it ends."""
        while self._idle:
            self._call(self._idle.pop())

    def _call(self, idle: threading.Condition) -> None:
        self._active += 1
        self._called += 1
        idle.notify()

    def _parts_to_take(self) -> int:
        """How many threads would find something to do at once."""
        if not self._exhausted and len(self._window) < self._depth:
            # How many parts the next work has shows when it is there: then others are called.
            return 1 + sum(entry.parts_to_take for entry in self._window)
        return sum(entry.parts_to_take for entry in self._window)

    def _run(self) -> None:
        """The life of a thread."""
        thread = threading.current_thread()
        with self._lock:
            self._running.add(thread)
            self._called -= 1
        try:
            self._make_parts()
        except GivenUp:
            return  # counted out already
        except BaseException as error:  # noqa: BLE001 - it is raised in the reader
            self._fail(error)
        with self._lock:
            self._hands.pop(thread, None)
            self._count_out(thread)

    def _make_parts(self) -> None:
        tool = self._make_tool()
        watch = None if self._watch_of is None else self._watch_of(tool)
        if watch is not None:
            watch.watch_this_thread()
        turn = _Turn(self._lock)
        while (hand := self._claim(watch, turn)) is not None:
            error: BaseException | None = None
            begin = time.perf_counter()
            try:
                hand.entry.work.make(hand.part, tool)
            except GivenUp:
                raise
            except BaseException as caught:  # noqa: BLE001 - it is raised in the reader
                error = _as_error(caught)
            # Before the reader can see that it is made.
            self._meter.add_turn(busy=time.perf_counter() - begin, plan=turn.plan)
            self._report(hand.entry, error)
            # Or this frame would keep the last batch alive while the thread waits.
            del hand, error
        self._meter.add_turn(busy=0.0, plan=turn.plan)

    def _claim(self, watch: Watch | None, turn: _Turn) -> Hand[Tool, T] | None:
        """The next part to make, or None when this thread should end."""
        thread = threading.current_thread()
        turn.plan = 0.0
        with self._lock:
            self._hands.pop(thread, None)
            while not self._closed:
                for entry in self._window:
                    if entry.parts_to_take:
                        hand = self._hands[thread] = Hand(entry, entry.take_part(), watch)
                        if turn.plan:
                            self._call_threads()  # for the other parts of what it opened
                        return hand
                if self._exhausted:
                    break
                if len(self._window) < self._depth:
                    begin = time.perf_counter()
                    self._open()
                    turn.plan += time.perf_counter() - begin
                    continue
                if not self._wait_to_be_called(turn):
                    return None
            # Counted out under the same lock that found nothing to do: were it later, the
            # reader could believe that this thread still comes back, and wait for ever.
            self._active -= 1
            return None

    def _wait_to_be_called(self, turn: _Turn) -> bool:
        """Whether this thread was called; otherwise it is counted out."""
        self._active -= 1
        self._idle.append(turn.call)
        began = self._meter.begin_idle()
        turn.call.wait(IDLE_SECONDS)
        self._meter.end_idle(began)
        if turn.call in self._idle:
            self._idle.remove(turn.call)
            return False
        self._called -= 1
        return True

    def _open(self) -> None:
        """Puts the next work of the schedule into the window."""
        try:
            work = next(self._schedule)
        except StopIteration:
            self._exhausted = True
            self._call_all()
            self._ready.notify_all()
            return
        except BaseException as error:  # noqa: BLE001 - it is raised in the reader
            # Here, before the lock is given away: another thread would ask again, find a
            # generator that has ended, and the epoch would seem to be over.
            self._append_failed(_as_error(error))
            return
        entry = Entry(work)
        self._window.append(entry)
        if entry.is_done:
            self._ready.notify_all()

    def _report(self, entry: Entry[Tool, T], error: BaseException | None) -> None:
        with self._lock:
            entry.made += 1
            if error is not None and entry.error is None:
                self._end_with(entry, error)
            if entry.is_done:
                self._ready.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Lets the reader find an error that no part has raised."""
        with self._lock:
            self._active -= 1
            if self._closed:
                return
            # The part that this thread had in hand, or was for, may never be made: so the reader
            # must find the error before it waits for any.
            for entry in self._window:
                if not entry.is_done:
                    self._end_with(entry, _as_error(error))
                    return
            self._append_failed(_as_error(error))

    def _append_failed(self, error: Exception) -> None:
        failed: Entry[Tool, T] = Entry(Nothing())
        self._window.append(failed)
        self._end_with(failed, error)

    def _end_with(self, entry: Entry[Tool, T], error: BaseException) -> None:
        """Nothing after a failed work is delivered: begin nothing new."""
        entry.error = error
        self._exhausted = True
        self._call_all()
        self._ready.notify_all()


def _as_error(caught: BaseException) -> Exception:
    """What a reader cannot take for something else.

    `SystemExit` would end its program without a word, and `StopIteration` would seem to be the end
    of the epoch.
    """
    if isinstance(caught, Exception) and not isinstance(caught, StopIteration):
        return caught
    error = RuntimeError(f"{caught!r} was raised in a thread that makes batches")
    error.__cause__ = caught
    for note in getattr(caught, "__notes__", []):
        error.add_note(note)
    return error
