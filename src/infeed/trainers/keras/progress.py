"""How far `fit` is: what a progress line needs, told from callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.framework import keras
from infeed.trainers.keras.monitor import BATCH_LOG, EPOCH_LOGS, InputMonitor
from infeed.trainers.steps_ahead import StepsAhead
from infeed.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a training run.

    Attributes:
        epoch: the epoch under way, from 0.
        epochs: how many there are.
        step: steps begun in this epoch.
        steps: how many this epoch has.
        images_per_second: over this epoch so far, validation not counted.
        seconds_left: an estimate for all that remains, validations included; None while
            there is nothing to estimate from.
        wait_fraction: the share of this epoch's training time in which training stood still
            for want of a batch.
        metrics: the latest that Keras told: of the steps so far, or at the end of an epoch of
            the whole of it, `val_...` included; without those of `InputMonitor`.
        is_epoch_end: whether this is the last word on an epoch.
        verdict: at the end of an epoch, if there is something new to say of what holds training
            back.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_second: float
    seconds_left: float | None
    wait_fraction: float
    metrics: dict[str, float]
    is_epoch_end: bool
    verdict: Verdict | None = None


class ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Counts steps and images, and tells `report` a few times a second.

    Also holds the training loop back so that it is never more than `STEPS_AHEAD` steps ahead
    of the device.

    Args:
        dataset: the training data.
        monitor: measures speed and waiting in the same `fit`; before this one in the list.
        report: called from the training thread.
        every_seconds: how often, between epochs.

    Attributes:
        steps: all steps that were done.
        images: all images that were trained.
    """

    # Keras then calls `on_train_batch_end` from threads of its own, and does not stop the
    # training loop to fetch the metrics of every step.
    async_safe = True

    def __init__(
        self,
        dataset: ImageDataset,
        monitor: InputMonitor,
        report: Callable[[Progress], None],
        *,
        every_seconds: float = 0.2,
    ) -> None:
        super().__init__()
        self.steps = 0
        self.images = 0
        self._ahead = StepsAhead()
        self._dataset = dataset
        self._monitor = monitor
        self._report = report
        self._every = every_seconds
        self._metrics: dict[str, float] = {}
        self._epoch = 0
        self._step = 0
        self._steps = 1
        self._first_step: int | None = None  # of this epoch: after an interruption not 0
        self._told = 0.0
        self._epoch_seconds: list[float] = []  # of whole epochs, with their validation
        self._begin = 0.0
        self._served = (0, 0)  # images and batches, when this part of the training began

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Not the data set's length: after an interruption that is the rest of the epoch.
        self._epoch, self._step, self._first_step = epoch, 0, None
        self._steps = int(self.params["steps"])
        self._metrics = {}
        self._begin = time.perf_counter()
        self._served = (self._dataset.images_served, self._dataset.batches_served)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._first_step is None:
            self._first_step = batch
        self._step = batch
        if time.perf_counter() - self._told > self._every:
            self._tell(is_epoch_end=False)
        self._ahead.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._ahead.end()
        self._metrics = _metrics(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        dataset = self._dataset
        images, batches = self._served
        self.images += dataset.images_served - images
        self.steps += dataset.batches_served - batches
        self._epoch_seconds.append(time.perf_counter() - self._begin)
        self._metrics = _metrics(logs)
        self._step = self._steps
        self._tell(is_epoch_end=True)

    def _tell(self, *, is_epoch_end: bool) -> None:
        self._told = time.perf_counter()
        steps = self._steps
        epochs = self.params.get("epochs", 1)
        tally = self._monitor.tally
        self._report(
            Progress(
                epoch=self._epoch,
                epochs=epochs,
                step=self._step,
                steps=steps,
                images_per_second=tally.images_per_second,
                seconds_left=self._seconds_left(epochs, steps, is_epoch_end=is_epoch_end),
                wait_fraction=tally.wait_fraction,
                metrics=self._metrics,
                is_epoch_end=is_epoch_end,
                verdict=self._monitor.news if is_epoch_end else None,
            )
        )

    def _seconds_left(self, epochs: int, steps: int, *, is_epoch_end: bool) -> float | None:
        to_come = epochs - self._epoch - 1
        first = self._first_step or 0
        done = 1.0 if is_epoch_end else (self._step - first) / max(steps, 1)
        left = 0.0 if is_epoch_end else (steps - self._step) / max(steps, 1)
        elapsed = time.perf_counter() - self._begin
        if self._epoch_seconds:
            # The last epoch rather than their mean: the first one compiled and filled caches.
            whole = self._epoch_seconds[-1]
        elif done > 0:
            whole = elapsed / done
        else:
            return None
        return whole * (to_come + left)


def _metrics(logs: Any) -> dict[str, float]:
    """What Keras told, without what the monitor added."""
    added = {BATCH_LOG, *EPOCH_LOGS}
    return {name: value for name, value in (logs or {}).items() if name not in added}
