"""The speed at which this machine can decode and resize an image set at all."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from infeed.bench.bare_process import BareProcess


def decoder_limit(
    paths: Sequence[str], *, height: int, width: int, processes: int, reduced: bool = True
) -> float:
    """Images a second that bare processes read, decode and resize.

    No order, no batches, no threads that share an interpreter, every result written over the last
    one: what feeds a model from these files with the same decoder is hardly faster.

    Args:
        paths: files that decode without fault; each process gets every `processes`-th.
        height: of the resized images.
        width: of the resized images.
        processes: how many run at once.
        reduced: whether a JPEG may be decoded at 1/2, 1/4 or 1/8 where the target allows it.

    Raises:
        RuntimeError: a process failed; with what it said.
    """
    processes = max(1, min(processes, len(paths)))
    with contextlib.ExitStack() as ending:
        workers = [
            ending.enter_context(
                BareProcess(
                    "infeed.bench.bare_decoder",
                    {
                        "paths": list(paths[index::processes]),
                        "height": height,
                        "width": width,
                        "reduced": reduced,
                    },
                )
            )
            for index in range(processes)
        ]
        for worker in workers:
            worker.wait_until_ready()
        for worker in workers:
            worker.go()
        results = [worker.result() for worker in workers]
    return sum(images / seconds for images, seconds in results)
