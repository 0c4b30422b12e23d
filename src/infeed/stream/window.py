"""The engine: work done ahead of its reader, by threads, delivered in order."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar

from infeed.errors import LoaderClosedError, StalledError
from infeed.stream.meter import Meter
from infeed.stream.watch import GivenUp, Watch

# A thread that found nothing to do for this long ends; the next request starts another.
# Long enough to outlive a training step, short enough that nothing lingers after `fit`.
IDLE_SECONDS = 1.0

# `close` waits so long for a thread that waits for something outside, and then leaves it to itself.
CLOSING_SECONDS = 1.0

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
Tool = TypeVar("Tool")
Tool_contra = TypeVar("Tool_contra", contravariant=True)


class Work(Protocol[Tool_contra, T_co]):
    """One thing to be made, in parts that any threads may make in any order."""

    @property
    def parts(self) -> int:
        """How many parts there are, 0 included."""

    def make(self, part: int, tool: Tool_contra, /) -> None:
        """Makes one part. Called from any thread, once for each part.

        Called again for a part whose thread was given up while it waited: see `Watch`.
        """

    def give_up(self, what: Hashable, /) -> None:
        """Notes what must not be waited for again. Called before the part is made again."""

    def result(self) -> T_co:
        """The whole. Called once, by the reader, after all parts were made."""


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
        self._crew = _Crew(
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
            Exception: whatever a part of this work raised, with its own traceback. The
                window is closed then.
        """
        begin = time.perf_counter()
        if self._crew.is_abroad():
            raise LoaderClosedError(
                "this epoch was opened in another process, whose threads a fork does not bring "
                "along: open one in this process"
            )
        try:
            work = self._crew.take()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise
        made = time.perf_counter()
        result = work.result()
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


class _Entry(Generic[Tool, T]):
    """One work in the window, and how far it is."""

    def __init__(self, work: Work[Tool, T]) -> None:
        self.work = work
        self.parts = work.parts
        self.claimed = 0
        self.again: list[int] = []  # parts whose threads were given up
        self.made = 0
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or self.made == self.parts

    @property
    def has_part(self) -> bool:
        """Whether there is a part to take."""
        return self.error is None and (bool(self.again) or self.claimed < self.parts)

    def take_part(self) -> int:
        if self.again:
            return self.again.pop()
        self.claimed += 1
        return self.claimed - 1


class _Hand(Generic[Tool, T]):
    """What a thread has in hand."""

    def __init__(self, entry: _Entry[Tool, T], part: int, watch: Watch | None) -> None:
        self.entry = entry
        self.part = part
        self.watch = watch


class _Turn:
    """What a thread did besides work since its last part, in seconds."""

    __slots__ = ("idle", "plan")

    def __init__(self) -> None:
        self.idle = 0.0
        self.plan = 0.0


class _Crew(Generic[Tool, T]):
    """What the threads share. Everything below `_lock` is read and written under it."""

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
        self._room = threading.Condition(self._lock)  # workers wait here
        self._ready = threading.Condition(self._lock)  # the reader waits here
        self._schedule = schedule
        self._window: deque[_Entry[Tool, T]] = deque()
        self._threads: list[threading.Thread] = []  # started, not joined and not given up
        self._hands: dict[threading.Thread, _Hand[Tool, T]] = {}
        self._alive = 0  # of these, the ones that have not come to their end
        self._working = 0  # of these, the ones that will still claim a part
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
            while self._working < self._limit and self._has_work():
                try:
                    self._start_thread()
                except RuntimeError:
                    # The system gives no more threads: fewer will do, none will not.
                    if not self._working:
                        raise
                    return

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
            self._room.notify_all()
            self.start()
        if entry.error is not None:
            raise entry.error
        return entry.work

    def stop(self) -> None:
        """Tells the threads to end; waits for nothing."""
        if self.is_abroad():
            return  # no threads here, and the lock may be held by one that is not here
        with self._lock:
            self._closed = True
            self._exhausted = True
            self._window.clear()
            self._schedule = iter(())
            self._room.notify_all()
            self._ready.notify_all()

    def close(self) -> None:
        """Tells the threads to end, and waits until they have."""
        self.stop()
        if self.is_abroad():
            return
        with self._lock:
            threads, self._threads = self._threads, []
        end = time.monotonic() + CLOSING_SECONDS
        for thread in threads:
            if thread is threading.current_thread():
                continue
            while thread.is_alive() and not self._is_left(thread, end):
                thread.join(max(0.01, end - time.monotonic()))

    def _is_left(self, thread: threading.Thread, end: float) -> bool:
        """Gives a thread up that waits for something outside when it is time to close."""
        with self._lock:
            hand = self._hands.get(thread)
            if time.monotonic() < end or hand is None or hand.watch is None:
                return False
            wait = hand.watch.wait
            if wait is None or not hand.watch.give_up(wait):
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
                self._room.notify_all()
                self.start()
        return max(next_look, 0.01)

    def _part_with(self, thread: threading.Thread) -> None:
        """Counts a thread out that was given up; it ends by itself if it ever comes back."""
        del self._hands[thread]
        if thread in self._threads:
            self._threads.remove(thread)
        self._working -= 1
        self._count_out()

    def _count_out(self) -> None:
        self._alive -= 1
        if not self._alive:
            atexit.unregister(self.close)

    def _start_thread(self) -> None:
        name = f"infeed-{self._name}-{self._started}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()  # it needs the lock before it touches what follows
        self._started += 1
        self._working += 1
        if not self._alive:
            # A daemon thread that is inside a codec when the interpreter goes down may
            # abort the process. So whoever has threads has them joined before that.
            atexit.register(self.close)
        self._alive += 1
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)

    def _has_work(self) -> bool:
        """Whether a new thread would find something to do."""
        if any(entry.has_part for entry in self._window):
            return True
        return not self._exhausted and len(self._window) < self._depth

    def _run(self) -> None:
        """The life of a thread."""
        try:
            self._make_parts()
        except GivenUp:
            return  # counted out already
        except BaseException as error:  # noqa: BLE001 - it is raised in the reader
            self._fail(error)
        with self._lock:
            self._hands.pop(threading.current_thread(), None)
            self._count_out()

    def _make_parts(self) -> None:
        tool = self._make_tool()
        watch = None if self._watch_of is None else self._watch_of(tool)
        if watch is not None:
            watch.watch_this_thread()
        turn = _Turn()
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
            self._meter.add_turn(busy=time.perf_counter() - begin, idle=turn.idle, plan=turn.plan)
            self._report(hand.entry, error)
            # Or this frame would keep the last batch alive while the thread waits.
            del hand, error
        self._meter.add_turn(busy=0.0, idle=turn.idle, plan=turn.plan)

    def _claim(self, watch: Watch | None, turn: _Turn) -> _Hand[Tool, T] | None:
        """The next part to make, or None when this thread should end."""
        thread = threading.current_thread()
        turn.idle = turn.plan = 0.0
        with self._lock:
            self._hands.pop(thread, None)
            while not self._closed:
                for entry in self._window:
                    if entry.has_part:
                        hand = self._hands[thread] = _Hand(entry, entry.take_part(), watch)
                        return hand
                if self._exhausted:
                    break
                begin = time.perf_counter()
                if len(self._window) < self._depth:
                    self._open()
                    turn.plan += time.perf_counter() - begin
                else:
                    has_room = self._room.wait(IDLE_SECONDS)
                    turn.idle += time.perf_counter() - begin
                    if not has_room:
                        break
            # Counted out under the same lock that found nothing to do: were it later, the
            # reader could believe that this thread still comes back, and wait for ever.
            self._working -= 1
            return None

    def _open(self) -> None:
        """Puts the next work of the schedule into the window."""
        try:
            work = next(self._schedule)
        except StopIteration:
            self._exhausted = True
            self._ready.notify_all()
            return
        except BaseException as error:  # noqa: BLE001 - it is raised in the reader
            # Here, before the lock is given away: another thread would ask again, find a
            # generator that has ended, and the epoch would seem to be over.
            self._append_failed(error)
            return
        entry = _Entry(work)
        self._window.append(entry)
        if entry.is_done:
            self._ready.notify_all()
        else:
            self._room.notify_all()

    def _report(self, entry: _Entry[Tool, T], error: BaseException | None) -> None:
        with self._lock:
            entry.made += 1
            if error is not None and entry.error is None:
                entry.error = error
                # Nothing after a failed work is delivered: stop making it.
                self._exhausted = True
                self._room.notify_all()
            if entry.is_done:
                self._ready.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Lets the reader find an error that belongs to no work."""
        with self._lock:
            self._working -= 1
            if not self._closed:
                self._append_failed(error)

    def _append_failed(self, error: BaseException) -> None:
        failed: _Entry[Tool, T] = _Entry(_Nothing())
        failed.error = error
        self._window.append(failed)
        self._exhausted = True
        self._room.notify_all()
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


class _Nothing:
    """The work of an entry that only carries an error."""

    parts = 0

    def make(self, part: int, tool: object, /) -> None:
        raise AssertionError

    def give_up(self, what: Hashable, /) -> None:
        raise AssertionError

    def result(self) -> T:  # type: ignore[type-var]  # never called: its entry has an error
        raise AssertionError
