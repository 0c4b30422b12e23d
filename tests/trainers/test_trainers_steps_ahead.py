"""`StepsAhead`: a training loop is held back, and goes on."""

from __future__ import annotations

import threading

from infeed.trainers.steps_ahead import StepsAhead


def test_as_many_steps_as_the_limit_may_be_under_way() -> None:
    steps = StepsAhead(2, timeout_seconds=0.0)
    assert [steps.begin() for _ in range(3)] == [True, True, False]


def test_a_step_that_is_done_lets_one_more_begin() -> None:
    steps = StepsAhead(2)
    for _ in range(5):
        assert steps.begin()
        steps.end()


def test_a_loop_that_is_held_back_goes_on_when_another_thread_ends_a_step() -> None:
    steps = StepsAhead(1)
    steps.begin()
    ending = threading.Thread(target=steps.end)
    ending.start()
    assert steps.begin()
    ending.join()


def test_steps_that_were_too_long_do_not_raise_the_limit() -> None:
    steps = StepsAhead(2, timeout_seconds=0.0)
    for _ in range(5):
        steps.begin()  # three of them only because it took too long
    for _ in range(5):
        steps.end()
    assert [steps.begin() for _ in range(3)] == [True, True, False]
