"""`Interrupt`: the signals that end a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest

from infeed.cli.interrupt import Interrupt

BEGIN = """
import hashlib, os, signal, sys, time, weakref
from pathlib import Path
from infeed.cli.interrupt import Interrupt

interrupt = Interrupt({options})
interrupt.install()
try:
"""
END = """
except KeyboardInterrupt:
    print("ending", flush=True)
interrupt.over()
interrupt.end(0)
"""
READY = "print('ready', flush=True)\n"
SLEEP = "time.sleep(60)"
# Two minutes without the interpreter's lock, and without a look at signals.
BUSY_OUTSIDE_PYTHON = "hashlib.pbkdf2_hmac('sha256', b'', b'', 200_000_000)"
HANG = f"try:\n    {READY}    {SLEEP}\nfinally:\n    {BUSY_OUTSIDE_PYTHON}"


class Program:
    """A program that does something under an `Interrupt`."""

    def __init__(self, body: str, *, options: str = "", before: str = "") -> None:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        program = before + BEGIN.format(options=options) + lines + END
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for("ready")

    def wait_for(self, line: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said == line + "\n", self.process.communicate()

    def send(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """(exit code, the rest of its output, what it said)."""
        # By the same files: what was read ahead with a line is lost to `communicate`.
        with self.process as process:
            assert process.stdout is not None
            assert process.stderr is not None
            out, said = process.stdout.read(), process.stderr.read()
        return process.returncode, out, said


def test_a_module_that_is_being_imported_gets_no_exception(tmp_path: Path) -> None:
    module = tmp_path / "slow_to_begin.py"
    module.write_text(
        "import time\n"
        f"try:\n    {READY}    time.sleep(60)\n"
        "except BaseException:\n    print('raised', flush=True)\n    raise\n",
        "utf-8",
    )
    program = Program(f"sys.path.append({str(tmp_path)!r})\nimport slow_to_begin")
    program.send(signal.SIGINT)
    assert program.end() == (130, "", "infeed: interrupted\n")


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "its terminal was closed"),
    ],
)
def test_a_signal_ends_a_command_in_order_with_its_code_and_one_line(number, code, word):
    program = Program(READY + SLEEP)
    program.send(number)
    assert program.end() == (code, "ending\n", f"infeed: {word}\n")


def test_a_main_thread_that_is_busy_outside_python_does_not_hold_the_end_up():
    program = Program(HANG)
    program.send(signal.SIGINT)
    assert program.end() == (130, "", "infeed: interrupted\n")


def test_a_second_signal_ends_at_once():
    body = f"try:\n    {READY}    {SLEEP}\nfinally:\n    print('hangs', flush=True)\n    {SLEEP}"
    program = Program(body, options="grace_seconds=1000, press_seconds=0")
    program.send(signal.SIGINT)
    program.wait_for("hangs")
    program.send(signal.SIGTERM)
    assert program.end() == (130, "", "infeed: interrupted\n")


def test_signals_of_the_same_moment_are_one():
    body = f"try:\n    {READY}    {SLEEP}\nfinally:\n    print('tidies up', flush=True)"
    program = Program(body, options="press_seconds=1000")
    program.send(signal.SIGINT, signal.SIGINT, signal.SIGINT)
    assert program.end() == (130, "tidies up\nending\n", "infeed: interrupted\n")


def test_a_ctrl_c_that_python_drops_is_raised_again():
    body = READY + (
        "class Thing:\n    pass\n"
        "thing = Thing()\n"
        "kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        f"del thing\n{SLEEP}"
    )
    program = Program(body, options="grace_seconds=1000")
    assert program.end() == (130, "ending\n", "infeed: interrupted\n")


def test_a_signal_after_the_end_of_the_command_ends_the_process():
    program = Program(f"{READY}interrupt.over()\nprint('over', flush=True)\n{SLEEP}")
    program.wait_for("over")
    program.send(signal.SIGHUP)
    assert program.end() == (129, "", "infeed: its terminal was closed\n")


def test_a_signal_that_is_ignored_stays_ignored():
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program = Program(READY + SLEEP, before=before)
    program.send(signal.SIGHUP)
    program.send(signal.SIGTERM)
    assert program.end() == (143, "ending\n", "infeed: terminated\n")


def test_a_signal_to_a_forked_child_is_the_childs_own():
    body = READY + (
        "child = os.fork()\n"
        f"if child == 0:\n    print('child', flush=True)\n    {SLEEP}\n"
        "sys.stdin.read(0)\n"
        "os.kill(child, signal.SIGTERM)\n"
        "print(os.waitpid(child, 0)[1], interrupt.number, flush=True)"
    )
    program = Program(body)
    code, out, said = program.end()
    assert (code, said) == (0, "")
    assert out.splitlines()[-1] == f"{int(signal.SIGTERM)} None"


def test_unfinished_files_of_this_process_are_removed_however_it_ends(tmp_path: Path):
    below = tmp_path / "store"
    below.mkdir()
    (below / "partial-1-of-another.seg").touch()
    (tmp_path / "user's own").touch()
    body = (
        f"interrupt.tidies(Path({str(tmp_path)!r}), depth=1)\n"
        f"for each in ('a.json', 'store/b.seg'):\n"
        f"    path = Path({str(tmp_path)!r}, each)\n"
        "    path.with_name(f'partial-{os.getpid()}-{path.name}').touch()\n"
        f"{HANG}"
    )
    program = Program(body)
    program.send(signal.SIGINT)
    assert program.end()[0] == 130
    assert {path.name for path in tmp_path.rglob("*")} == {
        *("store", "user's own", "partial-1-of-another.seg")
    }


def test_temporary_files_are_removed_however_the_process_ends(tmp_path: Path):
    body = (
        f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
        "with interrupt.temporary_folder():\n"
        "    tempfile.mkdtemp()\n"
        "    assert os.listdir(tempfile.gettempdir())\n"
        + "".join(f"    {line}\n" for line in HANG.splitlines())
    )
    program = Program(body)
    program.send(signal.SIGINT)
    assert program.end()[0] == 130
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_folder_is_there_within_the_block_only(tmp_path: Path):
    before = tempfile.tempdir
    try:
        tempfile.tempdir = str(tmp_path)
        with Interrupt().temporary_folder():
            folder = Path(tempfile.mkdtemp()).parent
            assert folder.parent == tmp_path
        assert tempfile.tempdir == str(tmp_path)
    finally:
        tempfile.tempdir = before
    assert list(tmp_path.iterdir()) == []


def test_signals_and_hooks_are_given_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] + [sys.unraisablehook]
    interrupt = Interrupt()
    interrupt.install()
    assert signal.getsignal(signal.SIGTERM) is not before[1]
    interrupt.remove()
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] + [sys.unraisablehook]
    assert after == before


def test_a_command_finds_the_interrupt_of_its_process():
    interrupt = Interrupt()
    with click.Context(click.Command("train"), obj=interrupt):
        assert Interrupt.current() is interrupt
    assert Interrupt.current() is not interrupt


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_standard_stream_that_is_closed(infeed, leaves, closed):
    # Whatever is written to one would land in an image of the cache.
    for path in leaves.train_images.iterdir():
        os.utime(path, (1e9, 1e9))  # what was written just now is not kept
    command = Path(sys.executable).with_name("infeed")
    fill = f"'{command}' cache fill '{leaves.train_images}' --cache cache --size 16 {closed}"
    done = subprocess.run(fill, shell=True, cwd=infeed.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
    assert infeed("cache", "verify", "cache").returncode == 0
