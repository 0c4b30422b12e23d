"""A program may end anywhere: nothing hangs, and nothing is left."""

from __future__ import annotations

import pytest

OPEN_EPOCH = "stream = loader.epoch(0).__enter__()\nnext(stream)\n"
HALF_A_GENERATOR = "stream = loader.forever()\nnext(stream)\n"


@pytest.mark.parametrize("begin", [OPEN_EPOCH, HALF_A_GENERATOR, "batches = loader.endless()\n"])
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("raise ZeroDivisionError", 1, "ZeroDivisionError"),
        ("del loader", 0, ""),
        ("loader.close()", 0, ""),
    ],
)
def test_a_program_that_ends_with_an_open_stream_ends(run, begin, end, code, said):
    done = run(begin + end)
    assert done.returncode == code, done.stderr
    assert done.stderr.rstrip().endswith(said)
    assert bool(done.stderr) == bool(said)


@pytest.mark.parametrize("begin", [OPEN_EPOCH, HALF_A_GENERATOR])
def test_a_stream_that_another_thread_has_opened_does_not_hold_the_exit_up(run, begin):
    body = "".join(f"    {line}\n" for line in begin.splitlines())
    done = run(
        f"def use():\n    global stream\n{body}"
        "thread = threading.Thread(target=use)\nthread.start()\nthread.join()\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_thread_in_the_middle_of_an_epoch_does_not_hold_the_exit_up(run):
    done = run(
        "begun = threading.Event()\n"
        "def use():\n"
        "    for _ in loader.forever():\n"
        "        begun.set()\n"
        "threading.Thread(target=use, daemon=True).start()\n"
        "begun.wait()\n"
    )
    assert done.returncode == 0, done.stderr


def test_leaving_a_block_by_an_exception_ends_its_threads_first(run):
    done = run(
        "try:\n"
        "    with loader.epoch(0) as batches:\n"
        "        next(batches)\n"
        "        raise ZeroDivisionError\n"
        "except ZeroDivisionError:\n"
        "    print([t.name for t in threading.enumerate() if t.name.startswith('infeed-')])\n"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_loader_may_be_dropped_inside_its_own_block(run):
    done = run(
        "with loader.epoch(0) as batches:\n"
        "    del loader\n"
        "    print(len(positions(batches)))\n"
        "print(threading.active_count())\n"
    )
    assert (done.stdout, done.stderr) == ("7\n1\n", "")


@pytest.mark.parametrize(
    ("do", "code", "said"),
    [
        ("sys.exit(7)", 7, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), 2)", -2, "KeyboardInterrupt"),
        ("os.kill(os.getpid(), 15)", -15, ""),
    ],
)
def test_a_callback_that_ends_the_program_ends_it(run, do, code, said):
    done = run(
        f"def do():\n    {do}\n"
        "model().fit(ImageDataset(loader), epochs=3, verbose=0, callbacks=[Then(do)])\n"
        "print('went on')\n",
        keras=True,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.rstrip().endswith(said)
    assert done.stderr.count("Traceback") == bool(said)


def test_signals_of_a_program_that_uses_infeed_are_its_own(run):
    done = run(
        "import signal\n"
        "before = [signal.getsignal(n) for n in (2, 15, 1)]\n"
        "data = ImageDataset(loader)\n"
        "model().fit(data, epochs=1, verbose=0)\n"
        "print([signal.getsignal(n) for n in (2, 15, 1)] == before, signal.set_wakeup_fd(-1))\n",
        keras=True,
    )
    assert (done.returncode, done.stdout) == (0, "True -1\n"), done.stderr
