"""What is made of the little that a trainer says: N asks, B begins, G gets, E ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from infeed import (
    BadImageError,
    Cursor,
    Loader,
    LoaderClosedError,
    Manifest,
    Recipe,
    Sampler,
)
from infeed.trainers.passes import Passes


@pytest.fixture
def passes(pictures):
    made = []

    def passes(records=24, *, look=2, **settings):
        made.append(Passes(pictures.loader(records, **settings), look=look))
        return made[-1]

    yield passes
    for each in made:
        each.close()


def play(passes, script):
    """The places of the batches that a trainer gets which says this."""
    got = []
    for word in script.split():
        if word == "N":
            passes.ask()
        elif word == "B":
            passes.begin()
        elif word == "E":
            passes.end()
        else:
            for _ in range(int(word[1:] or 1)):
                batch = passes.take()
                got.append(batch and (batch.epoch, batch.number))
    return got


def places(epoch, *numbers):
    return [(epoch, number) for number in numbers]


@pytest.mark.parametrize("script", ["N N B N N G N E", "N N B N N G2 N E", "N N B N N N E"])
@pytest.mark.parametrize("records", [4, 8, 24])
def test_a_look_is_begun_again_also_where_it_took_the_whole_set(passes, script, records):
    looked = passes(records)
    steps = looked.length
    play(looked, script)
    assert looked.cursor == Cursor(0)
    assert play(looked, f"B N N G{steps} N E") == places(0, *range(steps))
    assert looked.cursor == Cursor(1)


@pytest.mark.parametrize("records", [4, 8])
def test_a_pass_begun_in_earnest_is_no_look_however_short(passes, records):
    short = passes(records)
    steps = short.length
    for epoch in range(3):
        assert play(short, f"N N N E B N N G{steps} N E") == places(epoch, *range(steps))


def test_close_wakes_a_reader_that_waits_for_a_batch():
    gate = threading.Event()

    class Gated:
        def read(self, uri):
            gate.wait(10)
            gate.set()
            return b""

    manifest, recipe = Manifest.from_rows(["a.png", "b.png"]), Recipe(height=8, width=8)
    waiting = Passes(Loader(manifest, recipe, Sampler(), storage=Gated()), look=2)
    waiting.begin()
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(waiting.take)
        while waiting._lock.acquire(blocking=False):  # until the reader has it, and waits
            waiting._lock.release()
            time.sleep(0.001)
        waiting.close()
        was_waited_for = not gate.is_set()
        gate.set()
        with pytest.raises(LoaderClosedError):
            reader.result(30)
    assert was_waited_for


def test_an_end_in_the_middle_of_a_pass_pauses_it(passes):
    paused = passes()
    assert play(paused, "N N N E B N N G2 E B G2 E") == places(0, 0, 1, 2, 3)
    assert play(paused, "B G2 N E B N N G2 E") == places(0, 4, 5) + places(1, 0, 1)


@pytest.mark.parametrize(
    "left", ["B N N G3", "B N N G3 E", "B N N G1 E", "B N N G1", "B N N G6"], ids=str
)
@pytest.mark.parametrize(
    "begun",
    ["N N N E B N N G", "N N B N N G N E B N N G", "N N B N N G"],
    ids=["fit", "look and fit", "predict"],
)
def test_whatever_left_a_pass_early_the_next_one_is_the_next_epoch(passes, left, begun):
    abandoned = passes()
    play(abandoned, f"N N N E {left}")
    assert play(abandoned, begun)[-1] == (1, 0)


def test_what_reads_ahead_goes_on_while_the_pass_is_paused_and_others_do_not(passes):
    paused = passes(look=0)
    with ThreadPoolExecutor(1) as reader:
        play(paused, "N N N E B")
        read = [reader.submit(play, paused, "N N G4").result()]
        play(paused, "E")
        assert paused.take() is None
        read.append(reader.submit(play, paused, "G3").result())
    assert read == [places(0, 0, 1, 2, 3), [*places(0, 4, 5), None]]


def test_outside_a_pass_nothing_is_taken(passes):
    outside = passes()
    assert outside.take() is None
    play(outside, "N N N E B N N G6 N E")
    assert outside.take() is None


def test_a_batch_that_could_not_be_made_is_tried_again(passes):
    failing = passes(22, bad=(13,), on_bad_image="raise", sampling="sequential")
    play(failing, "N N N E B N N G3")
    for _ in range(2):
        with pytest.raises(BadImageError):
            failing.take()
    assert failing.cursor == Cursor(0, 12)


def test_a_pass_that_another_one_ends_says_so(passes):
    shared = passes()
    first = shared.one_pass()
    next(first)
    shared.begin()
    with pytest.raises(LoaderClosedError, match="one data set serves one loop at a time"):
        next(first)


def test_one_pass_after_the_other_goes_through_the_epochs(passes):
    alone = passes()
    got = [[(batch.epoch, batch.number) for batch in alone.one_pass()] for _ in range(2)]
    assert got == [places(epoch, *range(6)) for epoch in range(2)]


def test_the_first_batches_of_the_next_epoch_are_made_before_anybody_asks(pictures):
    loader = pictures.loader(24)
    ready = Passes(loader, look=2)
    play(ready, "N N N E B N N G6 N E")
    assert play(ready, "B G") == places(1, 0)
    # One stream through both epochs: the first of them was not decoded a second time.
    assert loader.meter.read().images <= 24 + 4 * (1 + loader.depth)
    ready.close()
