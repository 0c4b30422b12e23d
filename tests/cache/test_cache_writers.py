"""Any number of processes and loaders use one cache, some of them killed, stopped or forked.

What the tests do, in `make test` with less than in `make torture`:

- 2 and 8 processes fill a cache at once and read what the others have stored; some are killed;
- a process is stopped while it has the lock of the folder or of a segment;
- a process is forked while its cache is open, half filled, and while it has the folder's lock;
- loaders of one process share a cache, in every form of images, with one thread and several.

Every row of every batch is checked. Nobody waits for a process that does not go on.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from infeed.cache.lock import folder_lock

Fill = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.Popen[str]]
MakeImages = Callable[[int], Path]

IMAGE_BYTES = 16 * 16 * 3


def bytes_in(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.glob("*/*.seg"))


def assert_is_gone_on_with(
    program: ModuleType, images: Path, cache: Path, *, most_copies: float
) -> None:
    """The next loader fills the cache, and takes no more space than so many copies need."""
    job = program.Job(images, cache)
    report = program.run(job, job.right())
    assert (report.wrong, report.is_complete, report.warnings) == (0, True, [])
    segments = len(list(cache.glob("*/*.seg")))
    assert bytes_in(cache) <= most_copies * report.images * IMAGE_BYTES + segments * 16_384


def fill_together(
    start_fill: Start,
    images: Path,
    cache: Path,
    *,
    processes: int,
    kills: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Processes that begin at once, the first few of which are killed; what the others report."""
    rng = np.random.default_rng(seed)
    running = [start_fill(images, cache, "--threads", 2) for _ in range(processes)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
    for process in running[:kills]:
        # Reading a random number of bytes of nothing takes a random time.
        assert sum(range(int(rng.integers(0, 1_000_000)))) >= 0
        process.kill()
    reports = []
    for number, process in enumerate(running):
        assert process.stdout is not None
        assert process.stderr is not None
        # Not by `communicate`, which knows nothing of what came with the first line.
        out, said = process.stdout.read(), process.stderr.read()
        assert process.wait() == 0 or (number < kills and process.returncode == -9), said
        if process.returncode == 0:
            reports.append(json.loads(out))
    for report in reports:
        assert report["wrong"] == 0
        assert report["warnings"] == []
    return reports


@pytest.mark.parametrize(
    ("processes", "kills", "count", "rounds"),
    [
        (2, 0, 300, 1),
        (8, 3, 300, 1),
        pytest.param(2, 0, 2000, 10, marks=pytest.mark.slow),
        pytest.param(2, 1, 2000, 10, marks=pytest.mark.slow),
        pytest.param(8, 0, 2000, 5, marks=pytest.mark.slow),
        pytest.param(8, 4, 2000, 10, marks=pytest.mark.slow),
    ],
)
def test_processes_fill_a_cache_at_once(
    program: ModuleType,
    start_fill: Start,
    many_images: MakeImages,
    tmp_path: Path,
    processes: int,
    kills: int,
    count: int,
    rounds: int,
) -> None:
    images = many_images(count)
    for number in range(rounds):
        cache = tmp_path / f"cache {number}"
        reports = fill_together(
            start_fill, images, cache, processes=processes, kills=kills, seed=number
        )
        assert len(reports) >= processes - kills
        if not kills:
            assert sum(report["counts"]["stored"] for report in reports) >= count
        assert_is_gone_on_with(program, images, cache, most_copies=processes)


@pytest.mark.parametrize("lock", [1, 2], ids=["folder", "segment"])
def test_nobody_waits_for_a_stopped_process(
    program: ModuleType,
    start_fill: Start,
    many_images: MakeImages,
    tmp_path: Path,
    fill: Fill,
    lock: int,
) -> None:
    images, cache = many_images(72), tmp_path / "cache"
    stopped = start_fill(images, cache, "--stop-at-lock", lock)
    _, status = os.waitpid(stopped.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    report = fill(images, cache, "--threads", 2)
    assert (report["wrong"], report["warnings"]) == (0, [])
    # The second lock is a segment's, which is made under the folder's.
    assert report["counts"]["stored"] == 0
    stopped.send_signal(signal.SIGKILL)
    stopped.wait()
    assert_is_gone_on_with(program, images, cache, most_copies=1)


def test_a_stopped_process_keeps_its_segment_and_no_more(
    program: ModuleType, start_fill: Start, many_images: MakeImages, tmp_path: Path
) -> None:
    images, cache = many_images(200), tmp_path / "cache"
    # The first lock that is given back is the folder's, once the first segment is made.
    stopped = start_fill(images, cache, "--stop-at-unlock", 1)
    _, status = os.waitpid(stopped.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    (locked,) = [path for path in cache.glob("*/*.seg") if program.is_locked(path)]
    before = locked.read_bytes()
    # The stopped one's segment is reserved, and stays as it is.
    assert_is_gone_on_with(program, images, cache, most_copies=1.5)
    assert locked.read_bytes() == before
    stopped.send_signal(signal.SIGCONT)
    out, _ = stopped.communicate(timeout=60)
    report = json.loads(out.splitlines()[-1])
    assert (report["wrong"], report["warnings"]) == (0, [])


def test_a_fork_neither_writes_nor_unlocks_what_is_its_parents(
    fill: Fill, many_images: MakeImages, tmp_path: Path
) -> None:
    reports = fill(many_images(72), tmp_path / "cache", "--fork")
    for report in (reports["parent"], reports["child"]):
        assert (report["wrong"], report["hits"][1], report["warnings"]) == (0, 72, [])
        assert report["hits"][0] >= 32


# A child that outlives the block in which its parent had the lock.
FORKED = """
import os, sys
from pathlib import Path
from infeed.cache.lock import folder_lock

with folder_lock(Path(sys.argv[1]), seconds=0) as is_held:
    assert is_held
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
print("left", flush=True)
os.wait()
"""


def test_a_fork_does_not_keep_the_lock_of_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        with folder_lock(tmp_path, seconds=0) as is_held:
            assert is_held
        process.stdin.close()
    assert process.returncode == 0


# A thread of the child leaves the parent's store; the other one comes before it has done so.
LEAVING = """
import os, sys, threading
from infeed import Loader, Manifest, Recipe, Sampler

loader = Loader(
    Manifest.from_folders(sys.argv[1], labelled=False), Recipe(8, 8), Sampler(batch_size=8),
    cache=sys.argv[2],
)
loader.batch(0, 0)
store = loader._stages.store
parents = store._opened
abandon = parents.abandon
begun, is_back = threading.Event(), threading.Event()

def slowly():
    begun.set()
    is_back.wait(0.5)  # it is not, if it waits for this thread, as it should
    abandon()

parents.abandon = slowly
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
first = []
thread = threading.Thread(target=lambda: first.append(store._open()))
thread.start()
begun.wait()
second = store._open()
is_back.set()
thread.join()
os._exit(0 if second is first[0] is not parents else 1)
"""


def test_no_thread_of_a_fork_uses_what_its_parent_has_open(
    many_images: MakeImages, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LEAVING, str(many_images(24)), str(tmp_path / "cache")]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


FORMS = [
    {"color": color, "dtype": dtype, "encoding": encoding, "threads": threads}
    for color, dtype, encoding, threads in itertools.product(
        ("rgb", "grayscale", "rgba"), ("uint8", "float32"), ("raw", "jpeg"), (1, 4)
    )
    if (color, encoding) != ("rgba", "jpeg")
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_two_loaders_of_a_process_share_a_cache(
    program: ModuleType, many_images: MakeImages, tmp_path: Path, form: dict[str, Any]
) -> None:
    images, cache = many_images(40), tmp_path / "cache"
    job = program.Job(images, cache, **form)
    right = job.right()
    with (
        program.warnings_of_infeed() as said,
        closing(job.loader()) as train,
        closing(job.loader()) as validation,
        train.endless() as one,
    ):
        for epoch in range(3):
            for batch in itertools.islice(one, 3):
                assert program.wrong_rows(batch, right) == 0
            for batch in program.batches(validation, epoch, is_threaded=True):
                assert program.wrong_rows(batch, right) == 0
        assert validation.cache_counts.hits >= 80
        assert said == []
    assert program.run(job, right, [7]).is_complete


def test_all_forms_of_a_set_share_a_folder_and_never_mix(
    program: ModuleType, many_images: MakeImages, tmp_path: Path
) -> None:
    images, cache = many_images(24), tmp_path / "cache"
    jobs = [program.Job(images, cache, **form, size=size) for form in FORMS for size in (8, 9)]
    rights = [job.right() for job in jobs]
    for _ in range(2):
        for job, right in zip(jobs, rights, strict=True):
            report = program.run(job, right)
            assert (report.wrong, report.is_complete, report.warnings) == (0, True, [])
    # Neither the type of the batches nor the threads make other images.
    assert len(list(cache.glob("*/store.json"))) == len(jobs) // 4
