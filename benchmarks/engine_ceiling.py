"""What the engine reaches when codecs cost no processor: its ceiling on a host with many cores.

    python benchmarks/engine_ceiling.py [--threads 8 16 32 64] [--rounds 5] [--seconds 2]

The codec only waits a millisecond without the interpreter's lock, as a decoder does on a core of
its own, so that two cores stand for sixty-four. What is left is all that Python does for an
image with the lock held: it decides how many images a second one process can have. Beside each
figure stand the ideal, a thousand a second for each thread, and what the same threads reach that
do nothing but wait: a wait is longer than it was asked to be, and ends only when a core is free.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from unittest import mock

import numpy as np

import infeed.batch_work
from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler

WAIT_SECONDS = 0.001
NAMES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int)
    arguments = parser.parse_args()
    print(
        f"{'threads':>7}  {'ideal':>7}  {'only waiting':>12}  {'infeed':>7}  {'of ideal':>8}  "
        f"{'of waiting':>10}  {'processor, us an image':>22}"
    )
    for threads in arguments.threads:
        runs = [
            (
                only_waiting(threads, arguments.seconds),
                *through_the_loader(threads, arguments),
            )
            for _ in range(arguments.rounds)
        ]
        waiting, speed, cost = (statistics.median(values) for values in zip(*runs, strict=True))
        ideal = threads / WAIT_SECONDS
        print(
            f"{threads:>7}  {ideal:>7,.0f}  {waiting:>12,.0f}  {speed:>7,.0f}  "
            f"{speed / ideal:>8.2f}  {speed / waiting:>10.2f}  {cost:>22.1f}",
            flush=True,
        )


def only_waiting(threads: int, seconds: float) -> float:
    """Waits a second, of threads that do nothing else."""
    counts = [0] * threads
    end = time.perf_counter() + seconds

    def wait(thread: int) -> None:
        while time.perf_counter() < end:
            time.sleep(WAIT_SECONDS)
            counts[thread] += 1

    start = time.perf_counter()
    crew = [threading.Thread(target=wait, args=(thread,)) for thread in range(threads)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    return sum(counts) / (time.perf_counter() - start)


def through_the_loader(threads: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Images a second, and microseconds of the processor for one."""
    names = [f"{number}.jpg" for number in range(NAMES)]
    loader = Loader(
        Manifest.from_rows(names, [0] * NAMES),
        Recipe(height=224, width=224),
        Sampler(batch_size=arguments.batch),
        storage=MemoryStorage(dict.fromkeys(names, b"x")),
        threads=threads,
        **({"depth": arguments.depth} if arguments.depth else {}),
    )

    def wait_only(data: bytes, recipe: Recipe, out: np.ndarray, scratch: object) -> None:
        time.sleep(WAIT_SECONDS)

    with (
        mock.patch.object(infeed.batch_work, "decode_into", wait_only),
        loader.endless() as batches,
    ):
        next(batches)
        start, cpu, images = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - start) < arguments.seconds:
            images += len(next(batches))
    return images / elapsed, (time.process_time() - cpu) / images * 1e6


if __name__ == "__main__":
    main()
