"""What a command shows on the way, and how Ctrl-C reaches it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading

import click
import pytest

from infeed.cli.interrupt import Interrupt
from infeed.cli.output import Output
from infeed.cli.progress import ProgressLine


@pytest.mark.parametrize(
    ("shown", "values"), [("update", ("Epoch 1/2", 1, 2, "")), ("line", ("Epoch 1/2",))]
)
def test_a_ctrl_c_that_was_swallowed_ends_the_command_at_the_next_progress(shown, values):
    interrupt = Interrupt()
    interrupt.install()
    try:
        with (
            click.Context(click.Command("train"), obj=interrupt),
            ProgressLine(Output(as_json=False, quiet=True)) as line,
        ):
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                getattr(line, shown)(*values)
    finally:
        interrupt.remove()


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
