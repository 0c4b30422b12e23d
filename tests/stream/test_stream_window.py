"""The engine: order, bounds, errors, and every way in which it can end."""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infeed.errors import LoaderClosedError
from infeed.stream import Meter, Window


class Numbers:
    """A work of `parts` numbers; `on_make` runs inside each part."""

    def __init__(
        self, number: int, parts: int = 3, on_make: Callable[[int, int], None] | None = None
    ) -> None:
        self.number = number
        self.parts = parts
        self._on_make = on_make
        self._made = [-1] * parts

    def make(self, part: int, tool: object, /) -> None:
        if self._on_make is not None:
            self._on_make(self.number, part)
        self._made[part] = self.number * 100 + part

    def give_up(self, what: object, /) -> None:
        raise AssertionError

    def result(self) -> list[int]:
        return self._made


def window_of(
    works: Iterator[Numbers], *, threads: int = 3, depth: int = 3, meter: Meter | None = None
) -> Window[None, list[int]]:
    return Window(works, lambda: None, threads=threads, depth=depth, meter=meter or Meter())


def drained(window: Window[None, list[int]]) -> list[list[int]]:
    results = []
    while True:
        try:
            results.append(window.next())
        except StopIteration:
            return results


@settings(max_examples=40)
@given(
    parts=st.lists(st.integers(0, 5), max_size=20),
    threads=st.integers(1, 5),
    depth=st.integers(1, 5),
)
def test_every_work_is_delivered_whole_and_in_order(
    parts: list[int], threads: int, depth: int
) -> None:
    window = window_of((Numbers(i, n) for i, n in enumerate(parts)), threads=threads, depth=depth)
    expected = [[i * 100 + part for part in range(n)] for i, n in enumerate(parts)]
    assert drained(window) == expected
    window.close()


def test_no_more_than_depth_works_are_open_beside_the_one_taken() -> None:
    opened = []

    def works() -> Iterator[Numbers]:
        for number in count():
            opened.append(number)
            yield Numbers(number)

    window = window_of(works(), depth=4)
    for taken in range(1, 30):
        window.next()
        assert len(opened) <= taken + 4
    window.close()


def test_an_endless_schedule_can_be_left_at_any_time() -> None:
    window = window_of(Numbers(number) for number in count())
    assert window.next() == [0, 1, 2]
    window.close()


def test_closing_twice_is_fine_and_a_closed_window_says_so() -> None:
    window = window_of(Numbers(number) for number in count())
    window.next()
    window.close()
    window.close()
    with pytest.raises(LoaderClosedError, match="this epoch has ended: open another one"):
        window.next()


def test_closing_a_window_that_never_started_is_fine() -> None:
    window_of(Numbers(number) for number in count()).close()


def test_an_error_reaches_the_reader_after_all_earlier_works_with_its_own_traceback() -> None:
    def fail_at_five(number: int, part: int) -> None:
        if number == 5 and part == 1:
            raise KeyError("five")

    window = window_of(Numbers(number, on_make=fail_at_five) for number in count())
    delivered = [window.next()[0] // 100 for _ in range(5)]
    assert delivered == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError, match="five") as caught:
        window.next()
    assert "fail_at_five" in "".join(traceback.format_tb(caught.value.__traceback__))
    with pytest.raises(LoaderClosedError):
        window.next()


def test_a_work_that_failed_goes_with_its_error_and_waits_for_no_collector() -> None:
    class Fails(Numbers):
        def make(self, part: int, tool: object, /) -> None:
            raise ValueError("no")

    gc.disable()
    try:
        work = Fails(0)
        failed = weakref.ref(work)
        window = window_of(iter([work]), threads=1)
        del work
        with pytest.raises(ValueError, match="no"):
            window.next()
        assert failed() is None
    finally:
        gc.enable()


def test_an_error_in_a_result_ends_the_window_so_that_no_work_is_passed_over() -> None:
    class NoMemory(Numbers):
        def result(self) -> list[int]:
            if self.number == 1:
                raise MemoryError("no labels")
            return super().result()

    window = window_of(NoMemory(number) for number in count())
    assert window.next() == [0, 1, 2]
    with pytest.raises(MemoryError, match="no labels"):
        window.next()
    with pytest.raises(LoaderClosedError):
        window.next()


def test_a_worker_that_calls_sys_exit_is_an_error_in_the_reader_not_a_silent_stall() -> None:
    window = window_of(Numbers(0, on_make=lambda number, part: sys.exit(3)) for _ in range(1))
    # As itself it would end the reader's program, without a word.
    with pytest.raises(RuntimeError, match=r"SystemExit\(3\) was raised in a thread"):
        window.next()


def test_a_schedule_that_raises_is_an_error_in_the_reader() -> None:
    def works() -> Iterator[Numbers]:
        yield Numbers(0)
        raise RuntimeError("no second one")

    # Often: another thread that asks the schedule again must not take the error for the end.
    for _ in range(300):
        window = window_of(works(), threads=4)
        assert window.next() == [0, 1, 2]
        with pytest.raises(RuntimeError, match="no second one"):
            window.next()


def test_a_tool_that_cannot_be_made_is_an_error_in_the_reader() -> None:
    def no_memory() -> None:
        raise MemoryError("no scratch")

    works = (Numbers(number) for number in count())
    window = Window(works, no_memory, threads=2, depth=2, meter=Meter())
    with pytest.raises(MemoryError, match="no scratch"):
        window.next()


def test_a_failure_between_making_a_part_and_saying_so_is_an_error_in_the_reader() -> None:
    class NoMemory(Meter):
        def add_turn(self, *, busy: float, plan: float) -> None:
            raise MemoryError("not even for this")

    window = window_of((Numbers(n, 1) for n in range(2)), threads=1, depth=2, meter=NoMemory())
    with pytest.raises(MemoryError, match="not even for this"):
        window.next()


@pytest.mark.parametrize("where", ["schedule", "tool"])
def test_sys_exit_outside_a_part_is_an_error_too(where: str) -> None:
    def works() -> Iterator[Numbers]:
        if where == "schedule":
            sys.exit(3)
        yield Numbers(0)

    def make_tool() -> None:
        if where == "tool":
            sys.exit(3)

    window = Window(works(), make_tool, threads=1, depth=1, meter=Meter())
    with pytest.raises(RuntimeError, match=r"SystemExit\(3\) was raised in a thread"):
        window.next()


def test_each_thread_has_a_tool_of_its_own() -> None:
    users: dict[int, set[int]] = {}

    class UsesTool(Numbers):
        def make(self, part: int, tool: object, /) -> None:
            users.setdefault(id(tool), set()).add(threading.get_ident())
            super().make(part, tool)

    tools = []

    def make_tool() -> object:
        tools.append(object())
        return tools[-1]

    window: Window[object, list[int]] = Window(
        (UsesTool(number) for number in range(50)), make_tool, threads=4, depth=3, meter=Meter()
    )
    for _ in range(50):
        window.next()
    window.close()
    assert all(len(threads) == 1 for threads in users.values())


def test_a_collected_window_ends_its_threads() -> None:
    window = window_of(Numbers(number) for number in count())
    window.next()
    threads = [t for t in threading.enumerate() if t.name.startswith("infeed-window")]
    assert threads
    del window
    gc.collect()
    for thread in threads:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in threads)


def test_idle_threads_end_and_come_back_when_the_reader_does() -> None:
    window = window_of(Numbers(number) for number in count())
    assert window.next() == [0, 1, 2]
    for thread in [t for t in threading.enumerate() if t.name.startswith("infeed-window")]:
        thread.join(timeout=10)
        assert not thread.is_alive(), "an idle thread stays"
    assert [window.next()[0] for _ in range(20)] == [100 * n for n in range(1, 21)]
    window.close()


OneInHand = tuple[Window[None, list[int]], threading.Thread, threading.Event]


@pytest.fixture
def one_in_hand() -> Iterator[OneInHand]:
    """A window whose thread has a part in hand, the thread, and what lets it go on."""
    in_hand: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    go_on = threading.Event()

    def slow(number: int, part: int) -> None:
        in_hand.put(threading.current_thread())
        go_on.wait(timeout=30)

    window = window_of((Numbers(n, on_make=slow) for n in count()), threads=1)
    window.start()
    yield window, in_hand.get(timeout=30), go_on
    go_on.set()
    window.close()


def test_closing_waits_only_for_the_part_in_hand() -> None:
    in_hand, go_on = threading.Event(), threading.Event()
    made = []

    def slow(number: int, part: int) -> None:
        in_hand.set()
        go_on.wait(timeout=30)
        made.append((number, part))

    window = window_of((Numbers(n, on_make=slow) for n in count()), threads=1)
    window.start()
    assert in_hand.wait(timeout=30)
    closing = threading.Thread(target=window.close)
    closing.start()
    go_on.set()
    closing.join(timeout=30)
    assert not closing.is_alive()
    assert len(made) == 1


def test_whoever_closes_second_waits_too(one_in_hand: OneInHand) -> None:
    window, _, go_on = one_in_hand
    closing = threading.Thread(target=window.close)
    closing.start()
    while not window._crew._closed:
        time.sleep(0.001)
    second = threading.Thread(target=window.close)
    second.start()
    second.join(0.05)  # it would be over by then; where it is not begun yet, nothing is proved
    assert second.is_alive()
    go_on.set()
    for thread in (closing, second):
        thread.join(30)
        assert not thread.is_alive()


def test_a_close_that_ctrl_c_ends_can_be_made_up_for(one_in_hand: OneInHand) -> None:
    window, thread, go_on = one_in_hand

    def interrupt() -> None:
        while not window._crew._closed:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        window.close()
    helper.join(30)
    assert thread.is_alive()
    go_on.set()
    window.close()  # as the interpreter does before it exits
    assert not thread.is_alive()


def test_a_reader_that_waits_in_another_thread_is_woken_by_close() -> None:
    go_on = threading.Event()
    outcome = []
    window = window_of(Numbers(n, on_make=lambda *_: go_on.wait(30) and None) for n in count())

    def read() -> None:
        try:
            window.next()
        except LoaderClosedError:
            outcome.append("closed")

    window.start()
    reader = threading.Thread(target=read)
    reader.start()
    closing = threading.Thread(target=window.close)
    closing.start()
    go_on.set()
    closing.join(timeout=30)
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert outcome in ([], ["closed"])  # it may have been quicker than `close`


def test_waiting_is_counted_and_the_first_batch_apart() -> None:
    meter = Meter()
    gate = threading.Event()
    window = window_of(
        (Numbers(n, on_make=lambda *_: gate.wait(30) and None) for n in range(5)), meter=meter
    )
    threading.Timer(0.05, gate.set).start()
    drained(window)
    window.close()
    reading = meter.read()
    assert reading.first_wait_seconds > 0
    assert reading.wait_seconds >= reading.first_wait_seconds


def test_threads_that_find_no_place_are_idle_and_not_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infeed.stream.crew.IDLE_SECONDS", 60)
    meter = Meter()
    window = window_of((Numbers(n) for n in range(5)), meter=meter, depth=1, threads=1)
    window.start()
    while not meter.read().idle_seconds:
        time.sleep(0.001)
    before = meter.read()  # while it is idle, and ever since
    time.sleep(0.05)
    spent = meter.read() - before
    assert spent.idle_seconds >= 0.05
    assert spent.busy_seconds == 0
    drained(window)
    window.close()
    last = meter.read()
    assert last.plan_seconds > 0
    time.sleep(0.01)
    assert meter.read().idle_seconds == last.idle_seconds


def test_who_rested_last_is_called_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infeed.stream.crew.IDLE_SECONDS", 60)
    made_by: dict[tuple[int, int], str] = {}
    gates = [threading.Event() for _ in range(2)]

    def make(number: int, part: int) -> None:
        made_by[number, part] = threading.current_thread().name
        if number == 0:
            gates[part].wait(30)

    works = (Numbers(n, 2 if n == 0 else 1, on_make=make) for n in count())
    window = window_of(works, threads=2, depth=1)
    window.start()
    while len(made_by) < 2:
        time.sleep(0.001)
    for resting, gate in enumerate(gates, 1):  # one comes to rest after the other
        gate.set()
        while len(window._crew._idle) < resting:
            time.sleep(0.001)
    for _ in range(6):
        window.next()
        while len(window._crew._idle) < 2:  # both rest again
            time.sleep(0.001)
    # And only that one, for works of a single part.
    assert {made_by[n, 0] for n in range(1, 6)} == {made_by[0, 1]}
    window.close()


@pytest.mark.parametrize("bad", [{"threads": 0}, {"depth": 0}])
def test_no_threads_or_no_depth_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="threads and depth must be at least 1"):
        window_of(iter(()), **bad)


def test_windows_come_and_go_without_leaving_threads() -> None:
    before = threading.active_count()
    for _ in range(100):
        window = window_of(Numbers(number) for number in count())
        assert [r[0] for r in islice(iter(window.next, None), 3)] == [0, 100, 200]
        window.close()
    assert threading.active_count() == before


PROGRAM = """
import itertools, sys, time
from infeed.stream import Meter, Window

class Slow:
    parts = 4
    def make(self, part, tool):
        sum(range(20_000))
    def result(self):
        return 1

works = (Slow() for _ in itertools.count())
window = Window(works, lambda: None, threads=4, depth=3, meter=Meter())
window.next()
print("started", flush=True)
"""


def test_the_interpreter_exits_at_once_with_a_window_open() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")


def test_an_unhandled_error_exits_at_once_with_a_window_open() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "raise ValueError('mine')"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: mine")


def test_ctrl_c_while_waiting_for_a_batch_ends_the_process() -> None:
    program = PROGRAM.replace("sum(range(20_000))", "time.sleep(0.05)") + (
        "\nwhile True:\n    window.next()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, error
    assert error.rstrip().endswith("KeyboardInterrupt")


def test_a_forked_process_is_told_that_it_has_no_threads() -> None:
    program = PROGRAM + (
        "import os\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        window.next()\n"
        "    except Exception as error:\n"
        "        window.close()\n"
        "        print(type(error).__name__, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "window.next()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "started\nLoaderClosedError\n"), done.stderr


def test_a_slow_reader_has_fewer_threads_and_a_quick_one_has_them_all_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infeed.stream.crew.IDLE_SECONDS", 0.05)
    slow_makers = threading.Event()
    working = set()

    def make(number: int, part: int) -> None:
        working.add(threading.current_thread().name)
        time.sleep(0.002 if slow_makers.is_set() else 0.0)

    window = window_of((Numbers(n, 2, on_make=make) for n in count()), threads=8, depth=4)
    for _ in range(20):  # all that are not called meanwhile end
        window.next()
        time.sleep(0.05)
    left = [each for each in threading.enumerate() if each.name.startswith("infeed-window")]
    assert len(left) <= 3  # one work at a time, of two parts
    slow_makers.set()
    working.clear()
    for _ in range(40):
        window.next()
    assert len(working) >= 6  # of eight parts in four works
    window.close()


def test_a_window_that_is_full_has_no_thread_work(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    window = window_of(
        (Numbers(n, 2, on_make=lambda *which: made.append(which)) for n in count()),
        threads=3,
        depth=4,
    )
    window.start()
    while len(made) < 8:
        time.sleep(0.01)
    time.sleep(0.1)
    assert sorted(made) == [(n, part) for n in range(4) for part in range(2)]
    window.close()
