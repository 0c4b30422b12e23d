"""Measures one peer in a process of its own: `python measure.py PEER SET --size 224 --batch 64`.

Prints one JSON object. Two epochs are read, the first right after the imports: `cold` holds what it
takes to start threads and processes, `warm` is the epoch after it. Both begin at the call
that asks for the epoch and end with its last batch; nothing looks at the pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from catalogue import LIMIT, PEERS
from image_set import ImageSet
from processor import Watch

Epoch = Callable[[int], Iterator[tuple[Any, Any]]]
"""Of the number of an epoch: its batches, (images, rows); rows are None where nobody knows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("set", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--cores", type=int, required=True)
    arguments = parser.parse_args()
    images = ImageSet.read(arguments.set)
    # Libraries greet on standard output; the result has it for itself.
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(
            arguments.peer,
            images,
            size=arguments.size,
            batch=arguments.batch,
            cores=arguments.cores,
        )
    print(json.dumps(result), flush=True)


def measure(name: str, images: ImageSet, *, size: int, batch: int, cores: int) -> dict[str, Any]:
    """What the peer delivered, how fast, and in which versions."""
    peer = PEERS[name]
    versions = {package: importlib.metadata.version(package) for package in peer.packages}
    result: dict[str, Any] = {"versions": {"python": platform.python_version()} | versions}
    module = importlib.import_module(peer.module)
    if name == LIMIT:
        watch = Watch()
        rate = module.rate(images, size=size, processes=cores)
        return result | {"warm": {"images_per_second": rate} | _shares(watch)}
    start = perf_counter()
    epoch: Epoch = module.prepare(images, size=size, batch=batch, cores=cores, reduced=peer.reduced)
    result["prepare_seconds"] = perf_counter() - start
    result["cold"] = read_epoch(epoch(0), len(images.names))
    result["warm"] = read_epoch(epoch(1), len(images.names))
    return result


def read_epoch(batches: Iterator[tuple[Any, Any]], rows: int) -> dict[str, Any]:
    """Reads an epoch and says what came."""
    seen = np.zeros(rows, np.int64)
    known = True
    count = 0
    first = 0.0
    dtypes = set()
    watch = Watch()
    start = perf_counter()
    for pixels, numbers in batches:
        if not count:
            first = perf_counter() - start
        count += len(pixels)
        # `uint8`, `torch.uint8` and `<dtype: 'uint8'>` are one thing.
        dtypes.update(re.findall(r"u?int\d+|float\d+", str(pixels.dtype)))
        if numbers is None:
            known = False
        else:
            np.add.at(seen, np.asarray(numbers), 1)  # also what comes twice in one batch
    seconds = perf_counter() - start
    return {
        "images": count,
        "distinct_images": int((seen > 0).sum()) if known else None,
        "every_image_once": bool((seen == 1).all()) if known else False,
        "dtypes": sorted(dtypes),
        "seconds": seconds,
        "images_per_second": count / seconds,
        "first_batch_seconds": first,
    } | _shares(watch)


def _shares(watch: Watch) -> dict[str, Any]:
    load = watch.load()
    return {
        "cpu_seconds": load.own_cpu_seconds,
        "system_cpu_seconds": load.own_system_seconds,
        "others_share": load.others,
        "steal_share": load.steal,
        "quiet": load.quiet,
    }


if __name__ == "__main__":
    # A worker that is spawned, not forked, imports this file under another name.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    main()
