"""Measures the steps of `fit`: fed from memory, and fed by a loader."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from infeed.bench.result import FitResult
from infeed.loader import Loader
from infeed.stream import aligned_empty
from infeed.trainers.keras import ImageDataset
from infeed.trainers.keras.framework import keras
from infeed.trainers.keras.step_clock import MemoryDataset, StepClock

RUNS: Final = 5

RUN_SECONDS: Final = 1.0
FEWEST_STEPS: Final = 8

# In turn: one alone would stay in the processor's own memory.
MEMORY_BATCHES: Final = 4


def fit_steps(
    loader: Loader,
    model: Any,
    *,
    runs: int = RUNS,
    run_seconds: float = RUN_SECONDS,
    tell: Callable[[str], None] = lambda doing: None,
) -> FitResult:
    """Milliseconds a step of `fit`, both ways in turns.

    Fed from memory: batches of the loader's own, which lie ready and are handed over as the
    loader's are: as tensors on PyTorch, and else as arrays that need no copy. A run's time goes
    from the end of its first step to the end of its last one, on the device, not the call's.

    Args:
        loader: with labels, and batches of one size (`remainder="drop"`): a last batch that is
            shorter would be compiled in the middle of it.
        model: a compiled `keras.Model`.
        runs: calls of `fit` each way.
        run_seconds: how long each is about, of at least 8 steps.
        tell: told what is done, at each step; may raise, to stop.

    Raises:
        ValueError: the loader has no labels.
    """
    steps = loader.steps()
    ready: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(min(steps, MEMORY_BATCHES)):
        batch = loader.batch(0, number)
        # Where JAX and TensorFlow take it without a copy, as they take the loader's own.
        images = aligned_empty(batch.images.shape, batch.images.dtype)
        images[:] = batch.images
        if batch.labels is None:
            raise ValueError("steps of fit need labels, and this loader delivers none")
        ready.append((images, batch.labels))
    name, rows = model.name, len(ready[0][0])
    tell(f"Compiling {name}")
    _run(model, MemoryDataset(ready, steps=min(steps, 2)), 1, StepClock())
    tries = [StepClock(tick=partial(tell, f"Training {name}")) for _ in range(2)]
    for clock in tries:
        _run(model, MemoryDataset(ready, steps=FEWEST_STEPS), 1, clock)
    step_seconds = min(clock.seconds for clock in tries) / (FEWEST_STEPS - 1)
    wanted = max(FEWEST_STEPS, math.ceil(run_seconds / max(step_seconds, 1e-6)))
    cut, epochs = min(steps, wanted), max(1, wanted // steps)
    total = cut * epochs
    memory, fed, waits = [], [], []
    with ImageDataset(loader) as dataset:
        for run in range(runs):
            doing = f"Training {name}, {run + 1}/{runs}"
            clock = StepClock(tick=partial(tell, f"{doing}, from memory"))
            _run(model, MemoryDataset(ready, steps=cut), epochs, clock)
            memory.append(clock.seconds / (total - 1))
            clock = StepClock(
                tick=partial(tell, f"{doing}, fed"), mark=lambda: loader.meter.read().wait_seconds
            )
            _run(model, dataset, epochs, clock, steps=None if cut == steps else cut)
            fed.append(clock.seconds / (total - 1))
            waits.append(clock.marked / clock.seconds)
    return FitResult(
        model=name,
        backend=keras.backend.backend(),
        runs=runs,
        steps=total,
        memory_step_ms=1e3 * statistics.median(memory),
        fed_step_ms=1e3 * statistics.median(fed),
        ratio=statistics.median(ours / theirs for ours, theirs in zip(fed, memory, strict=True)),
        memory_images_per_second=rows / statistics.median(memory),
        fed_images_per_second=rows / statistics.median(fed),
        wait_fraction=statistics.median(waits),
    )


def _run(model: Any, data: Any, epochs: int, clock: StepClock, *, steps: int | None = None) -> None:
    model.fit(
        data, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[clock]
    )
