"""The speed at which this machine can decode and resize an image set at all."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence


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
            ending.enter_context(_Decoder(paths[index::processes], height, width, reduced))
            for index in range(processes)
        ]
        for worker in workers:
            worker.wait_until_ready()
        for worker in workers:
            worker.go()
        results = [worker.result() for worker in workers]
    return sum(images / seconds for images, seconds in results)


class _Decoder:
    """One process of `bare_decoder`."""

    def __init__(self, paths: Sequence[str], height: int, width: int, reduced: bool) -> None:
        # A file, not a pipe: codecs may write a warning for each image, and nobody reads them
        # while the process runs.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infeed.bench.bare_decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        order = {"paths": list(paths), "height": height, "width": width, "reduced": reduced}
        self._say(json.dumps(order))

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def wait_until_ready(self) -> None:
        if self._hear() != "ready":
            raise self._failure()

    def go(self) -> None:
        self._say("go")

    def result(self) -> tuple[int, float]:
        """(images, seconds)."""
        line = self._hear()
        if not line:
            raise self._failure()
        result = json.loads(line)
        return int(result["images"]), float(result["seconds"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it failed: `_failure` says how
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _failure(self) -> RuntimeError:
        self._process.communicate()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        return RuntimeError(f"A process that measures the decoder failed:\n{said}")
