"""What a command shows on the way, and how Ctrl-C reaches it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import weakref

import pytest

from infeed.cli.output import Output
from infeed.cli.progress import ProgressLine


class Thing:
    pass


def press_ctrl_c_where_python_drops_it():
    """Ctrl-C while a weak reference is told that its object died."""
    thing = Thing()
    _reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("shown", "values"), [("update", ("Epoch 1/2", 1, 2, "")), ("line", ("Epoch 1/2",))]
)
def test_a_ctrl_c_that_python_dropped_ends_the_command_at_the_next_progress(shown, values):
    with ProgressLine(Output(as_json=False, quiet=True)) as line:
        press_ctrl_c_where_python_drops_it()
        with pytest.raises(KeyboardInterrupt):
            getattr(line, shown)(*values)


def test_ctrl_c_is_given_back_after_the_command():
    before = signal.getsignal(signal.SIGINT)
    with ProgressLine(Output(as_json=False, quiet=True)):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_that_ignores_ctrl_c_still_does():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ProgressLine(Output(as_json=False, quiet=True)):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_warnings_of_any_thread_become_lines(capsys):
    warning = threading.Thread(
        target=logging.getLogger("infeed.somewhere").warning, args=("%s is bad", "叶.jpg")
    )
    with ProgressLine(Output(as_json=False, quiet=False)) as line:
        warning.start()
        warning.join()
        line.line("Epoch 1/2  loss 0.5")
    logging.getLogger("infeed.somewhere").info("not shown")
    assert capsys.readouterr().out.splitlines() == ["叶.jpg is bad", "Epoch 1/2  loss 0.5"]


def test_nothing_is_shown_between_two_plain_lines_within_ten_seconds(capsys):
    with ProgressLine(Output(as_json=False, quiet=False)) as line:
        for step in range(100):
            line.update("Epoch 1/2", step, 100, "")
    assert capsys.readouterr().out == ""
