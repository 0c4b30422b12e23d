"""How long the steps of `fit` take, and batches in memory to feed them with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from infeed.trainers.keras.framework import keras
from infeed.trainers.steps_ahead import StepsAhead


class StepClock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """When each step of one call of `fit` was done on the device.

    Also holds the training loop back so that it is never more than `STEPS_AHEAD` steps ahead of
    the device, as in `train_model`.

    Args:
        tick: called from the training thread at the beginning of each step; may raise.
        mark: its value at the end of the first and of the last step is kept, such as a counter.

    Attributes:
        ends: `time.perf_counter` at the end of each step.
        marks: what `mark` returned then.
    """

    # Keras then tells the end of a step from threads of its own, when its metrics are there, and
    # does not stop the training loop to fetch them: the time is that of the device.
    async_safe = True

    def __init__(
        self,
        *,
        tick: Callable[[], object] = lambda: None,
        mark: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__()
        self.ends: list[float] = []
        self.marks: list[float] = []
        self._tick = tick
        self._mark = mark
        self._ahead = StepsAhead()
        self._lock = threading.Lock()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._tick()
        self._ahead.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        with self._lock:
            self.ends.append(time.perf_counter())
            self.marks.append(self._mark())
        self._ahead.end()

    @property
    def seconds(self) -> float:
        """From the end of the first step, which may compile, to the end of the last one."""
        return max(self.ends) - min(self.ends)

    @property
    def marked(self) -> float:
        """By how much the mark rose in that time."""
        return max(self.marks) - min(self.marks)


class MemoryDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches that lie in memory, in turn, as a data set of `steps` batches.

    Args:
        batches: (images, labels) each; on PyTorch they are made tensors of, as those of an
            `ImageDataset` are.
        steps: its length.
    """

    def __init__(self, batches: Sequence[tuple[np.ndarray, np.ndarray]], *, steps: int) -> None:
        super().__init__()
        self._batches: Sequence[tuple[Any, ...]] = batches
        if keras.backend.backend() == "torch":
            from infeed.trainers.torch.tensors import to_tensors

            self._batches = [to_tensors(batch) for batch in batches]
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self._batches[index % len(self._batches)]
