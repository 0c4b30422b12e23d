"""Reads that never return: the image is bad, the run goes on, and closing does not wait."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler, TooManyBadImagesError

HANGING = {7, 31}


class Hanging:
    """A storage in which some reads block inside the kernel until the pipe is closed."""

    def __init__(self, pictures: dict[str, bytes], names: set[str]) -> None:
        self.memory = MemoryStorage(pictures)
        self.names = names
        self.reads: list[str] = []
        self._out, self._in = os.pipe()

    def read(self, uri: str) -> bytes:
        self.reads.append(uri)
        if uri in self.names:
            os.read(self._out, 1)
        return self.memory.read(uri)

    def let_go(self) -> None:
        if self._in >= 0:
            os.close(self._in)
            self._in = -1


@pytest.fixture
def hang(pictures: dict[str, bytes], manifest: Manifest) -> Iterator[Callable[[set[int]], Hanging]]:
    made: list[Hanging] = []

    def make(positions: set[int]) -> Hanging:
        made.append(Hanging(pictures, {manifest.uri(position) for position in positions}))
        return made[-1]

    yield make
    for storage in made:
        storage.let_go()
    for thread in threading.enumerate():
        if thread.name.startswith("infeed-"):
            thread.join(10)
            assert not thread.is_alive()


def loader_of(manifest: Manifest, storage: Hanging, **options: object) -> Loader:
    settings: dict[str, object] = {"read_timeout_seconds": 0.3, "threads": 3, **options}
    return Loader(
        manifest,
        Recipe(height=16, width=16),
        Sampler(seed=3, batch_size=8),
        storage=storage,
        **settings,  # type: ignore[arg-type]  # of many types
    )


def test_an_image_that_cannot_be_read_in_time_is_bad_and_all_others_are_as_ever(
    manifest: Manifest, hang: Callable[[set[int]], Hanging]
) -> None:
    loader = loader_of(manifest, hang(HANGING), max_bad=2)
    plain = loader_of(manifest, hang(set()))
    with loader.epoch(0) as batches, plain.epoch(0) as expected:
        for batch, other in zip(batches, expected, strict=True):
            np.testing.assert_array_equal(batch.positions, other.positions)
            kept = batch.sources == batch.positions
            np.testing.assert_array_equal(batch.images[kept], other.images[kept])
            assert set(batch.positions[~kept].tolist()) <= HANGING
    assert loader.quarantine.positions.tolist() == sorted(HANGING)
    assert loader.quarantine.reasons == {"timed_out": 2}
    assert "within 0.3 seconds (read_timeout_seconds)" in loader.quarantine.bad[0].message


def test_it_is_not_waited_for_again_while_it_hangs_and_read_again_when_it_does_not(
    manifest: Manifest, hang: Callable[[set[int]], Hanging]
) -> None:
    storage = hang({7})
    loader = loader_of(manifest, storage)
    for epoch in range(3):
        with loader.epoch(epoch) as batches:
            list(batches)
    name = manifest.uri(7)
    assert storage.reads.count(name) == 1
    storage.let_go()
    stuck = [each for each in threading.enumerate() if each.name.startswith("infeed-")]
    for thread in stuck:
        thread.join(10)
    storage.names.clear()
    with loader.epoch(3) as batches:
        assert all((batch.sources == batch.positions).all() for batch in batches)
    assert storage.reads.count(name) == 2


def test_a_single_batch_that_hangs_is_made_too(
    manifest: Manifest, hang: Callable[[set[int]], Hanging]
) -> None:
    loader = loader_of(manifest, hang({7}))
    number = next(n for n in range(loader.steps()) if 7 in loader.sampler.plan(53, 0, n).positions)
    batch = loader.batch(0, number)
    assert (batch.sources != batch.positions).sum() == 1


def test_a_whole_disk_that_hangs_ends_the_run_and_says_so(
    manifest: Manifest, hang: Callable[[set[int]], Hanging]
) -> None:
    loader = loader_of(manifest, hang(set(range(53))), max_bad=3)
    with (
        pytest.raises(TooManyBadImagesError, match=r"\d timed_out"),
        loader.epoch(0) as batches,
    ):
        next(batches)


def test_leaving_an_epoch_does_not_wait_for_a_read_that_hangs(
    manifest: Manifest, hang: Callable[[set[int]], Hanging]
) -> None:
    loader = loader_of(manifest, hang(set(range(53))), read_timeout_seconds=None)
    begin = time.monotonic()
    with loader.epoch(0):
        pass
    assert time.monotonic() - begin < 10  # and not for ever


@pytest.mark.parametrize("seconds", [60.0, None])
def test_an_epoch_that_was_left_during_a_slow_read_changes_no_pixel_of_the_next_stream(
    manifest: Manifest, pictures: dict[str, bytes], seconds: float | None
) -> None:
    """A trainer's look at the shapes ends like that: storage is slow, and nothing is bad."""

    class SlowAtFirst:
        is_slow, is_asked, gate = True, threading.Event(), threading.Event()

        def read(self, uri: str) -> bytes:
            if self.is_slow:
                self.is_asked.set()
                self.gate.wait()
            return pictures[uri]

    storage = SlowAtFirst()
    recipe, sampler = Recipe(height=16, width=16), Sampler(seed=3, batch_size=8)
    loader = Loader(
        manifest, recipe, sampler, storage=storage, threads=2, read_timeout_seconds=seconds
    )
    with loader.epoch(0):
        assert storage.is_asked.wait(30)
    storage.is_slow = False
    with loader.epoch(0) as batches:
        batch = next(batches)
    storage.gate.set()
    np.testing.assert_array_equal(batch.sources, batch.positions)
    assert loader.quarantine.count() == 0


def test_a_read_that_hangs_keeps_nothing_from_the_cache(
    manifest: Manifest, hang: Callable[[set[int]], Hanging], tmp_path: Path
) -> None:
    loader = loader_of(manifest, hang({7}), cache=tmp_path / "cache")
    for epoch in range(2):
        with loader.epoch(epoch) as batches:
            list(batches)
    assert loader.quarantine.reasons == {"timed_out": 1}
    loader.close()


@pytest.mark.parametrize("seconds", [0, -1, True, float("nan"), float("inf")])
def test_a_timeout_that_cannot_be_is_refused(
    manifest: Manifest, hang: Callable[[set[int]], Hanging], seconds: float
) -> None:
    with pytest.raises(ValueError, match="read_timeout_seconds must be a number of seconds"):
        loader_of(manifest, hang(set()), read_timeout_seconds=seconds)


def test_sys_exit_in_a_storage_is_an_error_that_names_the_record(manifest: Manifest) -> None:
    class Exits:
        def read(self, uri: str) -> bytes:
            raise SystemExit(3)

    loader = Loader(manifest, Recipe(height=8, width=8), Sampler(), storage=Exits())
    with (
        pytest.raises(RuntimeError, match=r"SystemExit\(3\) was raised in a thread") as caught,
        loader.epoch(0) as batches,
    ):
        next(batches)
    assert caught.value.__cause__ is not None
    assert "batch 0 of epoch 0" in caught.value.__notes__[0]


PROGRAM = """
import os, sys, numpy as np, cv2
from infeed import Loader, Manifest, Recipe, Sampler
picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
out, _ = os.pipe()

class Hangs:
    def read(self, uri):
        if uri == "3":
            os.read(out, 1)  # for ever
        return picture

manifest = Manifest.from_rows([str(n) for n in range(20)], [0] * 20)
loader = Loader(manifest, Recipe(height=8, width=8), Sampler(batch_size=4), storage=Hangs(),
                read_timeout_seconds=0.2)
with loader.epoch(0) as batches:
    print(sum(len(batch) for batch in batches), loader.quarantine.reasons)
"""


def test_a_program_with_a_read_that_hangs_for_ever_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "20 {'timed_out': 1}\n")
    assert "Traceback" not in done.stderr


class Slow:
    """A storage in which some reads take a while and then succeed."""

    def __init__(self, pictures: dict[str, bytes], names: set[str], seconds: float) -> None:
        self.memory = MemoryStorage(pictures)
        self.names, self.seconds = names, seconds
        self.reads: list[str] = []

    def read(self, uri: str) -> bytes:
        self.reads.append(uri)
        if uri in self.names:
            time.sleep(self.seconds)
        return self.memory.read(uri)


def test_two_slow_images_in_one_slice_are_both_bad_and_the_batch_comes(
    manifest: Manifest, pictures: dict[str, bytes]
) -> None:
    """Each is back before the other is given up: they must not take turns for ever."""
    names = {manifest.uri(0), manifest.uri(3)}
    storage = Slow(pictures, names, 0.45)
    loader = Loader(
        manifest,
        Recipe(height=16, width=16),
        Sampler(batch_size=8, sampling="sequential"),
        storage=storage,
        read_timeout_seconds=0.3,
        threads=2,
        on_bad_image="mask",
    )
    batch = loader.batch(0, 0)
    assert batch.failed.tolist() == [True, False, False, True, False, False, False, False]
    assert loader.quarantine.reasons == {"timed_out": 2}
    assert [storage.reads.count(name) for name in sorted(names)] == [1, 1]


def test_an_image_that_is_tried_again_for_longer_than_the_timeout_is_bad_once(
    manifest: Manifest, pictures: dict[str, bytes]
) -> None:
    class Fails:
        reads = 0

        def read(self, uri: str) -> bytes:
            if uri == manifest.uri(3):
                self.reads += 1
                raise OSError(errno.EIO, "Input/output error")
            return pictures[uri]

    storage = Fails()
    loader = Loader(
        manifest,
        Recipe(height=16, width=16),
        Sampler(batch_size=8, sampling="sequential"),
        storage=storage,
        read_timeout_seconds=0.1,
        on_bad_image="mask",
    )
    with loader.epoch(0) as batches:
        assert sum(len(batch) for batch in batches) == 53
    assert loader.quarantine.positions.tolist() == [3]
    assert storage.reads <= 8


def test_stop_iteration_in_a_storage_is_an_error_and_not_the_end_of_the_epoch(
    manifest: Manifest, pictures: dict[str, bytes]
) -> None:
    class Searches:
        def read(self, uri: str) -> bytes:
            return next(data for name, data in pictures.items() if name == uri and "9" not in uri)

    loader = Loader(manifest, Recipe(height=8, width=8), Sampler(), storage=Searches())
    with (
        pytest.raises(RuntimeError, match=r"StopIteration\(\) was raised in a thread") as caught,
        loader.epoch(0) as batches,
    ):
        list(batches)
    assert "of epoch 0" in caught.value.__notes__[0]


@pytest.mark.parametrize("returned", [None, "text", 3])
def test_a_storage_that_returns_no_bytes_is_told_what_it_should(
    manifest: Manifest, returned: object
) -> None:
    class Wrong:
        def read(self, uri: str) -> bytes:
            return returned  # type: ignore[return-value]  # that is the point

    loader = Loader(manifest, Recipe(height=8, width=8), Sampler(), storage=Wrong())
    with pytest.raises(TypeError, match="read must return bytes, got"):
        loader.batch(0, 0)


def test_what_is_no_storage_is_refused_at_once(manifest: Manifest) -> None:
    with pytest.raises(TypeError, match=r"storage must have a method read\(uri\) -> bytes, got"):
        Loader(
            manifest,
            Recipe(height=8, width=8),
            Sampler(),
            storage="images/",  # type: ignore[arg-type]  # that is the point
        )


CACHED = """
import os, sys, time
from pathlib import Path
import cv2, numpy as np
from infeed import Loader, Manifest, Recipe, Sampler
folder = Path(sys.argv[1])
for number in range(40):
    picture = np.full((8, 8, 3), number, np.uint8)
    (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    os.utime(folder / f"{number}.png", (1e9, 1e9))
manifest = Manifest.from_rows([f"{n}.png" for n in range(40)], [0] * 40, images=folder)
loader = Loader(manifest, Recipe(height=8, width=8), Sampler(batch_size=8), threads=2,
                cache=folder / "cache", read_timeout_seconds=1)
sys.stderr.write("ready\\n")
with loader.epoch(0) as batches:
    seen = [int(value) for batch in batches for value in batch.images[:, 0, 0, 0]]
print(sorted(seen) == list(range(40)), loader.quarantine.count())
"""


def test_a_cache_that_takes_an_image_and_does_not_answer_is_done_without(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    inject = [
        "-f",
        "-qq",
        "-o",
        tmp_path / "log",
        "-e",
        "inject=pwritev,pwritev2:delay_enter=6000000:when=2+",
    ]
    done = subprocess.run(
        ["strace", *inject, sys.executable, "-c", CACHED, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ready" not in done.stderr:
        pytest.skip(f"strace cannot be used here: {done.stderr}")
    assert done.stdout == "True 0\n", done.stderr
    assert "has not answered for 1 seconds: it is done without until it does" in done.stderr
