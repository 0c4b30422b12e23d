"""Fills that meet a fault at each of their calls that change a file, one after the other.

    python fault_program.py IMAGES CACHES sweep FAULT [--every N] [--encoding E]
    python fault_program.py IMAGES CACHES random --kills N

`sweep`: the first fill meets the fault at its first call, the second at its second, and so on,
until one meets none. `random`: pairs of fills of one cache are killed at random instants. After
each fault a process without one goes on with the cache. Each process is forked off this one,
which only looks; CACHES gets a folder for each. Prints a `Tally` as JSON.

A fault is `kill`: before the call; `half`: a kill after half of what the call should do; `short`:
only half is written, and the call says so; or the name of an error: the call fails once with it,
or, with a `+` behind it, from then on always. `read:` before an error: at calls that read.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import fcntl
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fill_program import PATIENCE_SECONDS, Job, Report, run

from infeed.cache.format import FormatError
from infeed.cache.segment import Segment

_WRITES = ("pwritev", "pwrite", "posix_fallocate", "ftruncate", "unlink", "replace", "mkdir")
_READS = ("preadv", "pread", "listdir", "scandir", "statvfs")


class Fault:
    """What happens at the `number`-th of the calls of this process that may meet it."""

    def __init__(self, kind: str, number: int) -> None:
        self.is_met = False
        self._is_lasting = kind.endswith("+")
        self._is_of_reads = kind.startswith("read:")
        self._kind = kind.removeprefix("read:").removesuffix("+")
        self._left = number

    def install(self) -> None:
        """Puts it before the calls of this process, which is there for that alone."""
        for name in _READS if self._is_of_reads else _WRITES:
            setattr(os, name, self._wrapped(getattr(os, name)))
        if self._is_of_reads:
            return
        os.open = self._wrapped(os.open, lambda _, flags, *__, **___: bool(flags & os.O_CREAT))
        fcntl.flock = self._wrapped(fcntl.flock)

    def _wrapped(
        self, call: Callable[..., Any], concerns: Callable[..., bool] = lambda *_, **__: True
    ) -> Callable[..., Any]:
        def faulty(*args: Any, **options: Any) -> Any:
            if not concerns(*args, **options):
                return call(*args, **options)
            self._left -= 1
            if self._left == 0 or (self._left < 0 and self._is_lasting):
                self.is_met = True
                return self._happen(call, args, options)
            return call(*args, **options)

        return faulty

    def _happen(self, call: Callable[..., Any], args: Any, options: Any) -> Any:
        name = call.__name__
        if self._kind in ("half", "short"):
            if name in ("pwritev", "pwrite"):
                descriptor, data, offset = args
                whole = b"".join(map(bytes, data)) if name == "pwritev" else bytes(data)
                done = os_pwrite(descriptor, whole[: len(whole) // 2], offset)
                if self._kind == "short":
                    return done
            elif name == "posix_fallocate":
                call(args[0], args[1], args[2] // 2)
            if self._kind == "short":
                return call(*args, **options)
        if self._kind in ("kill", "half"):
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self._kind)
        raise OSError(number, os.strerror(number))


os_pwrite = os.pwrite


@dataclass
class Tally:
    """What became of all fills.

    Attributes:
        faults: how many were met.
        kills: how many fills they ended.
        images: of the set.
        wrong: rows, in fills with faults and in those that went on.
        incomplete: processes that went on and could not fill the cache.
        hangs: processes that did not end.
        warnings: of fills with faults, without paths.
        later_warnings: of those that went on.
        slots: the largest number of places in segments that a cache had in the end.
        unfinished: segments without a header that were left in the end.
        most_warnings: of one fill with a fault.
    """

    faults: int = 0
    kills: int = 0
    images: int = 0
    wrong: int = 0
    incomplete: int = 0
    hangs: int = 0
    warnings: list[str] = field(default_factory=list)
    later_warnings: list[str] = field(default_factory=list)
    slots: int = 0
    unfinished: int = 0
    most_warnings: int = 0

    def add_later(self, report: Report | None, cache: Path) -> None:
        """Notes what the process found that went on."""
        if report is None:
            self.hangs += 1
            return
        self.images = report.images
        self.wrong += report.wrong
        self.incomplete += not report.is_complete
        self.later_warnings = sorted({*self.later_warnings, *without_paths(report.warnings)})
        slots = 0
        for path in cache.glob("*/*.seg"):
            try:
                segment = Segment.open(path)
            except FormatError:
                self.unfinished += 1
                continue
            header = segment.header
            segment.close()
            if header.slot_bytes:
                slots += (path.stat().st_size - header.data_at) // header.slot_bytes
        self.slots = max(self.slots, slots)


def without_paths(texts: list[str]) -> list[str]:
    """Texts that are equal where only the place differs."""
    return [re.sub(r"(?<!\w)/[^\s:]*", "PATH", text) for text in texts]


class Child:
    """A process that makes a `Report`; None of it where it was killed."""

    def __init__(self, make: Callable[[], Report], fault: Fault | None = None) -> None:
        reader, writer = os.pipe()
        self.process = os.fork()
        if not self.process:
            faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
            if fault is not None:
                fault.install()
            report = asdict(make())
            is_met = fault is not None and fault.is_met
            os.write(writer, json.dumps([report, is_met]).encode())
            os._exit(0)
        os.close(writer)
        self._reader = reader
        self.is_met = True
        self.is_killed = False

    def report(self) -> Report | None:
        """Waits for its end."""
        with open(self._reader, "rb") as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        self.is_killed = status == -signal.SIGKILL
        if not said:
            return None
        report, self.is_met = json.loads(said)
        return Report(**report)


def sweep(job: Job, caches: Path, kind: str, every: int) -> Tally:
    tally, right = Tally(), job.right()
    number = 1
    while True:
        cache = caches / f"{number}"
        each = Job(job.images, cache, size=job.size, encoding=job.encoding)
        child = Child(lambda each=each: run(each, right), Fault(kind, number))
        report = child.report()
        if not child.is_met:
            return tally
        tally.faults += 1
        tally.kills += child.is_killed
        if report is not None:
            tally.wrong += report.wrong
            tally.warnings = sorted({*tally.warnings, *without_paths(report.warnings)})
            tally.most_warnings = max(tally.most_warnings, len(report.warnings))
        elif not child.is_killed:
            tally.hangs += 1
        tally.add_later(Child(lambda each=each: run(each, right)).report(), cache)
        shutil.rmtree(cache)
        number += every


def kill_at_random(job: Job, caches: Path, kills: int, seed: int) -> Tally:
    tally, right, rng = Tally(), job.right(), random.Random(seed)
    number = 0
    while tally.kills < kills:
        number += 1
        each = Job(job.images, caches / f"{number}", size=job.size, encoding=job.encoding)
        start = time.perf_counter()
        alone = Child(lambda each=each: run(each, right, [0])).report()
        fill_seconds = time.perf_counter() - start
        assert alone is not None
        shutil.rmtree(each.cache)
        # Each cache bears several, so that it is filled in pieces.
        for _ in range(10):
            children = [Child(lambda each=each: run(each, right, [0])) for _ in range(2)]
            for child in children:
                time.sleep(rng.uniform(0, fill_seconds / 2))
                os.kill(child.process, signal.SIGKILL)
            for child in children:
                report = child.report()
                tally.faults += 1
                tally.kills += child.is_killed and report is None
                tally.wrong += 0 if report is None else report.wrong
        tally.add_later(Child(lambda each=each: run(each, right)).report(), each.cache)
        shutil.rmtree(each.cache)
    return tally


def main() -> Tally:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("caches", type=Path)
    parser.add_argument("what", choices=["sweep", "random"])
    parser.add_argument("fault", nargs="?")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoding", default="raw")
    parser.add_argument("--size", type=int, default=16)
    options = parser.parse_args()
    job = Job(options.images, options.caches, size=options.size, encoding=options.encoding)
    if options.what == "sweep":
        return sweep(job, options.caches, options.fault, options.every)
    return kill_at_random(job, options.caches, options.kills, options.seed)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main())) + "\n")
