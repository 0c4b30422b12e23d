"""Copies images from one array in memory into batches, and does nothing else.

Run as `python -m infeed.bench.bare_copier` by `copies.py`: what such a process reaches is what
epochs from the cache are measured against. Speaks lines on standard input and output: gets one
JSON object, says `ready`, waits for a line, copies, and prints `{"images": ..., "seconds": ...}`.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from time import perf_counter

import numpy as np


def main() -> None:
    """Serves one measurement; ends where whoever asked for it has ended."""
    parent = os.getppid()
    order = json.loads(sys.stdin.readline())
    count, rows = int(order["images"]), int(order["batch"])
    is_float, scale = order["dtype"] == "float32", np.float32(order["scale"])
    images = np.empty((count, *order["shape"]), np.uint8)
    shape = (rows, *order["shape"])
    batches = [np.empty(shape, order["dtype"]) for _ in range(order["batches"])]
    row = np.empty(shape, np.uint8)
    for array in (images, row, *batches):  # memory that was never written to is not there yet
        array.fill(127)
    positions = np.random.default_rng(0).permutation(count).tolist()
    plans = [positions[begin : begin + rows] for begin in range(0, count, rows)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    done = 0
    seconds = 0.0
    start = perf_counter()
    for plan, batch in zip(itertools.cycle(plans), itertools.cycle(batches), strict=False):
        target = row if is_float else batch
        for index, position in enumerate(plan):
            np.copyto(target[index], images[position])
        if is_float:
            used = len(plan)
            np.multiply(row[:used], scale, out=batch[:used], dtype=np.float32)
        done += len(plan)
        seconds = perf_counter() - start
        if (done >= count and seconds >= order["seconds"]) or os.getppid() != parent:
            break
    sys.stdout.write(json.dumps({"images": done, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
