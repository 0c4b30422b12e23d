"""Threads that do not come back: given up, replaced, and harmless when they return."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from itertools import count

import pytest

from infeed.errors import StalledError
from infeed.stream import GivenUp, Meter, Watch, Window, pause


class Tool:
    def __init__(self, stuck: set[Hashable]) -> None:
        self.watch = Watch(stuck)


class Slow:
    """A work of two parts; part 0 waits for a gate, unless what it waits for is stuck."""

    def __init__(
        self,
        number: int,
        gate: threading.Event,
        stuck: set[Hashable],
        *,
        is_optional: bool = True,
        is_watched: bool = True,
    ) -> None:
        self.number = number
        self.parts = 2
        self.made: list[str] = ["", ""]
        self.is_begun = threading.Event()
        self._gate, self._stuck = gate, stuck
        self._is_optional, self._is_watched = is_optional, is_watched

    def make(self, part: int, tool: Tool, /) -> None:
        self.is_begun.set()
        if part == 1:
            self.made[1] = "made"
        elif "the disk" in self._stuck:
            self.made[0] = "done without"
        elif self._is_watched:
            tool.watch.enter("the disk", is_optional=self._is_optional)
            try:
                self._gate.wait()
            finally:
                tool.watch.leave()
            self.made[0] = "waited for"
        else:
            self._gate.wait()

    def give_up(self, what: Hashable, /) -> None:
        pass

    def result(self) -> list[str]:
        return self.made


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():  # threads that were given up end now
        if thread.name.startswith("infeed-"):
            thread.join(10)
            assert not thread.is_alive()


def window_of(
    works: Iterator[Slow], stuck: set[Hashable], **options: float
) -> Window[Tool, list[str]]:
    return Window(
        works,
        lambda: Tool(stuck),
        threads=2,
        depth=2,
        meter=Meter(),
        watch_of=lambda tool: tool.watch,
        timeout_seconds=options.get("timeout_seconds", 0.2),
    )


def test_a_wait_is_told_while_it_lasts() -> None:
    watch = Watch(set())
    assert watch.wait is None
    watch.enter("x")
    assert watch.wait is not None
    assert watch.wait.what == "x"
    watch.leave()
    assert watch.wait is None


def test_a_thread_that_was_given_up_ends_and_what_it_waited_for_is_free_again() -> None:
    stuck: set[Hashable] = set()
    watch = Watch(stuck)
    watch.enter("x")
    assert watch.wait is not None
    assert watch.give_up(watch.wait)
    assert stuck == {"x"}
    with pytest.raises(GivenUp):
        watch.leave()
    assert stuck == set()


def test_a_pause_ends_when_its_thread_is_given_up() -> None:
    watch = Watch(set())
    ended: list[bool] = []

    def work() -> None:
        watch.watch_this_thread()
        watch.enter("x")
        ended.append(pause(0))
        ended.append(pause(60))

    thread = threading.Thread(target=work)
    thread.start()
    while watch.wait is None or not ended:
        time.sleep(0.001)
    assert watch.give_up(watch.wait)
    thread.join(10)
    assert ended == [False, True]


def test_a_pause_elsewhere_is_a_pause() -> None:
    assert pause(0.001) is False


def test_a_wait_within_a_wait_is_the_one_that_counts() -> None:
    stuck: set[Hashable] = set()
    watch = Watch(stuck)
    watch.enter("the cache", is_optional=False)
    watch.enter("x")
    assert watch.wait is not None
    assert watch.wait.what == "x"
    watch.leave()
    assert watch.wait.what == "the cache"
    watch.leave()
    assert watch.wait is None


def test_a_wait_that_is_over_cannot_be_given_up() -> None:
    stuck: set[Hashable] = set()
    watch = Watch(stuck)
    watch.enter("x")
    wait = watch.wait
    assert wait is not None
    watch.leave()
    watch.enter("x")  # the same again is another wait
    assert not watch.give_up(wait)
    assert stuck == set()
    watch.leave()


def test_the_part_of_a_thread_that_hangs_is_made_by_another_one(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    works = [Slow(number, gate, stuck) for number in range(5)]
    window = window_of(iter(works), stuck)
    assert [window.next() for _ in works] == [["done without", "made"]] * 5
    with pytest.raises(StopIteration):
        window.next()
    gate.set()
    window.close()


def test_a_thread_that_comes_back_late_touches_nothing(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    works = [Slow(0, gate, stuck)]
    window = window_of(iter(works), stuck)
    assert window.next() == ["done without", "made"]
    late = [thread for thread in threading.enumerate() if thread.name.startswith("infeed-")]
    gate.set()
    for thread in late:
        thread.join(10)
    assert works[0].made == ["done without", "made"]
    assert stuck == set()  # it may be read again
    window.close()


def test_where_no_other_thread_can_take_the_part_over_the_reader_gets_the_error(
    gate: threading.Event,
) -> None:
    tools: list[Tool] = []

    def make_tool() -> Tool:
        if tools:
            raise MemoryError("no second tool")
        tools.append(Tool(set()))
        return tools[0]

    window = Window(
        iter([Slow(0, gate, set())]),
        make_tool,
        threads=1,
        depth=1,
        meter=Meter(),
        watch_of=lambda tool: tool.watch,
        timeout_seconds=0.1,
    )
    with pytest.raises(MemoryError, match="no second tool"):
        window.next()


def test_a_wait_that_the_work_cannot_do_without_is_an_error(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    window = window_of((Slow(n, gate, stuck, is_optional=False) for n in count()), stuck)
    with pytest.raises(StalledError, match=r"^the disk has not answered for 0\.2 seconds"):
        window.next()


def test_a_wait_shorter_than_the_timeout_is_waited_for(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    window = window_of(iter([Slow(0, gate, stuck)]), stuck, timeout_seconds=60)
    threading.Timer(0.3, gate.set).start()
    assert window.next() == ["waited for", "made"]
    window.close()


def test_closing_leaves_a_thread_that_hangs_outside_to_itself(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    window = window_of((Slow(n, gate, stuck) for n in count()), stuck, timeout_seconds=60)
    window.start()
    begin = time.monotonic()
    window.close()
    assert time.monotonic() - begin < 10  # and not for ever


def test_what_a_closed_window_still_waits_for_is_waited_for_again(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    works = [Slow(0, gate, stuck)]
    window = window_of(iter(works), stuck, timeout_seconds=60)
    window.start()
    assert works[0].is_begun.wait(30)
    window.close()
    assert not gate.is_set()
    assert stuck == set()


def test_two_may_close_while_a_thread_hangs(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    works = [Slow(0, gate, stuck)]
    window = window_of(iter(works), stuck, timeout_seconds=60)
    window.start()
    assert works[0].is_begun.wait(30)
    closing = [threading.Thread(target=window.close) for _ in range(2)]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join(30)
        assert not thread.is_alive()


def test_closing_waits_for_a_thread_that_works(gate: threading.Event) -> None:
    stuck: set[Hashable] = set()
    works = [Slow(0, gate, stuck, is_watched=False)]
    window = window_of(iter(works), stuck)
    window.start()
    assert works[0].is_begun.wait(30)
    threading.Timer(1.5, gate.set).start()
    window.close()
    assert gate.is_set()
