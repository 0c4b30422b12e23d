"""What `RetryingStorage` costs a read where nothing fails, around a dict and around a folder.

    python benchmarks/retrying_reads.py [--rounds 15]

The same reads with and without it, alternating; medians of the rounds, nanoseconds a read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from infeed import LocalStorage, MemoryStorage, RetryingStorage, Storage

NAMES: Final = [f"{number}.jpg" for number in range(1000)]
BYTES: Final = 28_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            (Path(folder) / name).write_bytes(bytes(BYTES))
        compare("MemoryStorage", MemoryStorage(dict.fromkeys(NAMES, b"x")), arguments.rounds, 100)
        compare("LocalStorage", LocalStorage(folder), arguments.rounds, 10)


def compare(title: str, storage: Storage, rounds: int, times: int) -> None:
    again = RetryingStorage(storage)
    pairs = [(seconds(storage, times), seconds(again, times)) for _ in range(rounds)]
    bare, wrapped, more = (
        1e9 * statistics.median(values) / (times * len(NAMES))
        for values in zip(*((a, b, b - a) for a, b in pairs), strict=True)
    )
    print(f"{title}: {bare:,.0f} ns a read, {wrapped:,.0f} with retries, {more:,.0f} more")


def seconds(storage: Storage, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        for name in NAMES:
            storage.read(name)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
