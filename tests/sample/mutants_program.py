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
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from infeed import Loader, Manifest, Recipe, Sampler
from infeed.read import LocalStorage

THREADS = 4


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


def anonymous_mb(field: str = "RssAnon") -> float:
    """The process' memory that no file stands behind, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field}")


def run(folder: Path, seed: int, count: int, color_mode: str) -> dict[str, Any]:
    # The library's own log names bad images; it is not what is looked for here.
    logging.getLogger("infeed").addHandler(logging.NullHandler())
    logging.getLogger("infeed").propagate = False
    # What a codec's wrapper warns of counts as printed.
    warnings.simplefilter("always")
    names = []
    for number, (name, data) in enumerate(load_mutants().mutants(seed, count)):
        (folder / f"{number}.img").write_bytes(data)
        names.append(name)
    manifest = Manifest.from_rows([f"{number}.img" for number in range(count)], ["any"] * count)
    recipe = Recipe(height=64, width=64, color_mode=color_mode)
    storage = TimedStorage(folder)
    # A first pass over a few, so that what libraries allocate once is not counted as growth.
    outcome: dict[int, str] = {}
    start_mb, peak_mb, start = 0.0, 0.0, time.perf_counter()
    sampler = Sampler(batch_size=32, sampling="sequential")
    with Loader(
        manifest, recipe, sampler, storage=storage, on_bad_image="mask", max_bad=1.0,
        threads=THREADS,
    ) .epoch(0) as batches:  # fmt: skip
        for batch in batches:
            if not start_mb:
                start_mb = anonymous_mb()
            peak_mb = max(peak_mb, anonymous_mb())
            for position, source in zip(batch.positions, batch.sources, strict=True):
                outcome[int(position)] = "good" if source >= 0 else "bad"
    return {
        "names": names,
        "outcome": [outcome.get(number, "lost") for number in range(count)],
        "start_mb": start_mb,
        "peak_mb": peak_mb,
        "seconds": time.perf_counter() - start,
        "slowest": [(seconds, names[int(uri[:-4])]) for seconds, uri in storage.slowest],
    }


def main() -> None:
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    result = run(folder, seed, count, sys.argv[4] if len(sys.argv) > 4 else "rgb")
    result["counts"] = Counter(result["outcome"])
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
