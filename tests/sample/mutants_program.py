"""Damaged files through a `Loader`, in a process of its own.

    python mutants_program.py FOLDER SEED COUNT [COLOR_MODE]

Writes the files into FOLDER, and what became of them to FOLDER/result.json. It prints nothing, so
that whatever is printed was printed by a codec.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import threading
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from infeed import Loader, Manifest, Recipe, Sampler
from infeed.read import LocalStorage

THREADS = 4
MOST_NAMED = 900  # a quarantine names a thousand bad images, and counts the rest


class TimedStorage:
    """Reads files, and tells how long each thread took from one to its next."""

    def __init__(self, folder: Path) -> None:
        self._storage = LocalStorage(folder)
        self._last = threading.local()
        self.slowest: list[tuple[float, str]] = []

    def read(self, uri: str) -> bytes:
        self.lap()
        data = self._storage.read(uri)
        self._last.value = (time.perf_counter(), uri)
        return data

    def lap(self) -> None:
        start, uri = getattr(self._last, "value", (None, ""))
        if start is not None:
            self.slowest = sorted([*self.slowest, (time.perf_counter() - start, uri)])[-10:]


def load_mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", Path(__file__).with_name("mutants.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


class Memory:
    """The process' memory that no file stands behind, in MB, while a `with` block runs."""

    def __enter__(self) -> Memory:
        self.start = self.peak = self._now()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._watcher.join()
        self.end = self._now()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, self._now())

    def _now(self) -> float:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no RssAnon: this needs Linux")


def run(folder: Path, seed: int, count: int, color_mode: str) -> dict[str, Any]:
    """Outcome of each file, and what the whole cost."""
    names = []
    for number, (name, data) in enumerate(load_mutants().mutants(seed, count)):
        (folder / f"{number}.img").write_bytes(data)
        names.append(name)
    # What a codec's wrapper warns of counts as printed.
    warnings.simplefilter("always")
    storage = TimedStorage(folder)
    recipe = Recipe(height=64, width=64, color_mode=color_mode)
    memory = Memory()
    start = time.perf_counter()
    outcomes: list[str] = []
    with memory:
        for first in range(0, count, MOST_NAMED):
            numbers = range(first, min(first + MOST_NAMED, count))
            outcomes += pass_over(storage, recipe, [f"{number}.img" for number in numbers])
    return {
        "names": names,
        "outcomes": outcomes,
        "start_mb": memory.start,
        "peak_mb": memory.peak,
        "end_mb": memory.end,
        "seconds": time.perf_counter() - start,
        "slowest": [(seconds, names[int(uri[:-4])]) for seconds, uri in storage.slowest],
    }


def pass_over(storage: TimedStorage, recipe: Recipe, uris: list[str]) -> list[str]:
    """ "decoded", "recovered" or the reason of each file, in one epoch of a loader."""
    loader = Loader(
        Manifest.from_rows(uris, ["any"] * len(uris)),
        recipe,
        Sampler(batch_size=32, sampling="sequential"),
        storage=storage,
        on_bad_image="mask",
        max_bad=1.0,
        threads=THREADS,
    )
    outcomes = ["lost"] * len(uris)
    with loader.epoch(0) as batches:
        for batch in batches:
            for position, source in zip(batch.positions, batch.sources, strict=True):
                outcomes[position] = "decoded" if source >= 0 else "unnamed"
    for image in loader.quarantine.recovered:
        outcomes[image.position] = "recovered"
    for image in loader.quarantine.bad:
        outcomes[image.position] = image.reason
    return outcomes


def main() -> None:
    """Parses, runs, writes the result."""
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # The library's own log names bad images; it is not what is looked for here.
    logging.getLogger("infeed").propagate = False
    logging.getLogger("infeed").addHandler(logging.NullHandler())
    result = run(folder, seed, count, sys.argv[4] if len(sys.argv) > 4 else "rgb")
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
