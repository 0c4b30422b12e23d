"""A fork does not bring threads along: what is open there says so, and what is opened works."""

from __future__ import annotations

import pytest

FORK = """
def in_child(do):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            do()
            code = 0
        except LoaderClosedError as error:
            print(error, flush=True)
            code = 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
ABROAD = (
    "this epoch was opened in another process, whose threads a fork does not bring along: open "
    "one in this process\n"
)


@pytest.mark.parametrize(
    "opened", ["loader.epoch(0).__enter__()", "loader.endless().__enter__()", "loader.forever()"]
)
def test_an_open_stream_says_in_a_child_what_is_wrong_and_goes_on_in_the_parent(run, opened):
    done = run(
        FORK + f"stream = {opened}\n"
        "next(stream)\n"
        "sys.stdout.write(str(in_child(lambda: next(stream))) + ' ')\n"
        "print(sum(1 for _ in zip(range(6), stream)))\n"
    )
    assert (done.returncode, done.stdout) == (0, ABROAD + "2 6\n"), done.stderr


def test_a_child_may_open_an_epoch_of_its_own_and_gets_the_same_batches(run):
    done = run(
        FORK + "with loader.epoch(0) as batches:\n"
        "    expected = [next(batches).positions.tolist()]\n"
        "    def do():\n"
        "        with loader.epoch(0) as own:\n"
        "            assert positions(own)[0] == expected[0]\n"
        "        assert loader.batch(0, 0).positions.tolist() == expected[0]\n"
        "    print(in_child(do), len(positions(batches)))\n"
    )
    assert (done.returncode, done.stdout) == (0, "0 6\n"), done.stderr


def test_leaving_the_block_in_a_child_neither_hangs_nor_ends_the_parents_threads(run):
    done = run(
        FORK + "with loader.epoch(0) as batches:\n"
        "    next(batches)\n"
        "    print(in_child(lambda: batches.__exit__(None, None, None)), len(positions(batches)))\n"
    )
    assert (done.returncode, done.stdout) == (0, "0 6\n"), done.stderr


def test_a_child_of_multiprocessing_makes_batches_and_exits(run):
    done = run(
        "import multiprocessing\n"
        "def do(queue):\n"
        "    queue.put(loader.batch(0, 1).positions.tolist())\n"
        "context = multiprocessing.get_context('fork')\n"
        "with loader.epoch(0) as batches:\n"
        "    next(batches)\n"
        "    queue = context.SimpleQueue()\n"
        "    process = context.Process(target=do, args=(queue,))\n"
        "    process.start()\n"
        "    made = queue.get()\n"
        "    process.join()\n"
        "    print(process.exitcode, made == next(batches).positions.tolist())\n"
    )
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr


@pytest.mark.parametrize("whose", ["meter", "quarantine", "quarantine.journal"])
def test_a_lock_that_another_thread_holds_at_the_fork_is_free_in_the_child(run, tmp_path, whose):
    done = run(
        FORK + "import signal\n"
        "del files['7.jpg']\n"
        f"loader = make(bad_images={str(tmp_path / 'bad.jsonl')!r}, max_bad=1)\n"
        "held, done = threading.Event(), threading.Event()\n"
        "def hold():\n"
        f"    with loader.{whose}._lock.here():\n"
        "        held.set()\n"
        "        done.wait()\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "assert held.wait(30)\n"
        "def do():\n"
        "    signal.alarm(20)\n"
        "    with loader.epoch(0) as own:\n"
        "        assert len(positions(own)) == 7\n"
        "    assert loader.quarantine.count() == 1\n"
        "print(in_child(do))\n"
        "done.set()\n"
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_a_hundred_forks_in_the_middle_of_work_are_all_of_use(run):
    # A lock that one of the parent's threads holds at that instant must not be waited for.
    done = run(
        FORK + "import signal\n"
        "def do():\n"
        "    signal.alarm(20)\n"
        "    loader.batch(0, 0)\n"
        "    with loader.epoch(1) as own:\n"
        "        assert len(positions(own)) == 7\n"
        "with loader.endless() as batches:\n"
        "    codes = {in_child(do) for _ in zip(range(100), batches)}\n"
        "print(codes)\n"
    )
    assert (done.returncode, done.stdout) == (0, "{0}\n"), done.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("workers = 4", "pass threads= when it is made"),
        ("use_multiprocessing = True", "Keras would wait for it for ever"),
    ],
)
def test_workers_of_keras_are_refused_with_the_cure(run, setting, words):
    done = run(
        f"data = ImageDataset(loader)\ntry:\n    data.{setting}\nexcept ValueError as error:\n"
        "    print(error)\n"
        "data.workers, data.use_multiprocessing = 1, False\n"
        "model().fit(data, epochs=1, verbose=0)\n",
        keras=True,
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
