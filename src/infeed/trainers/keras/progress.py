"""How far `fit` is: what a progress line needs, told from callbacks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.framework import keras

# Keras dispatches steps without waiting for them. On the CPU, JAX lets 32 of them queue, each
# with its batch: 300 MB at 64x224x224x3, for nothing. Two keep any device busy.
STEPS_AHEAD = 2

# A step that takes longer, or one whose end is never told because it failed on the device:
# then Keras raises what happened as soon as it is let go on.
STEP_SECONDS = 60.0


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
        wait_fraction: the share of this epoch's training time in which the training loop
            waited for a batch.
        metrics: the latest that Keras told: of the steps so far, or at the end of an epoch of
            the whole of it, `val_...` included.
        is_epoch_end: whether this is the last word on an epoch.
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


@dataclass(slots=True)
class Tally:
    """Training time, and what happened in it."""

    seconds: float = 0.0
    images: int = 0
    wait_seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_fraction(self) -> float:
        return self.wait_seconds / self.seconds if self.seconds > 0 else 0.0


class ProgressCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Counts steps, images and waiting, and tells `report` a few times a second.

    Also holds the training loop back so that it is never more than `STEPS_AHEAD` steps ahead
    of the device.

    Args:
        dataset: the training data.
        report: called from the training thread.
        every_seconds: how often, between epochs.

    Attributes:
        total: all training from the end of the very first step on, which compiles the
            model; validation is not counted.
        steps: all steps that were done.
        images: all images that were trained.
    """

    # Keras then calls `on_train_batch_end` from threads of its own, and does not stop the
    # training loop to fetch the metrics of every step.
    async_safe = True

    def __init__(
        self,
        dataset: ImageDataset,
        report: Callable[[Progress], None],
        *,
        every_seconds: float = 0.2,
    ) -> None:
        super().__init__()
        self.total = Tally()
        self.steps = 0
        self.images = 0
        self._ahead = threading.Semaphore(STEPS_AHEAD)
        self._dataset = dataset
        self._report = report
        self._every = every_seconds
        self._metrics: dict[str, float] = {}
        self._epoch = 0
        self._step = 0
        self._steps = 1
        self._first_step: int | None = None  # of this epoch: after an interruption not 0
        self._told = 0.0
        self._mark: tuple[float, int, float] | None = None  # where this epoch's tally began
        self._tally = Tally()
        self._epoch_seconds: list[float] = []  # of whole epochs, with their validation
        self._begin = 0.0
        self._served = (0, 0)  # images and batches, when this part of the training began

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Not the data set's length: after an interruption that is the rest of the epoch.
        self._epoch, self._step, self._first_step = epoch, 0, None
        self._steps = int(self.params["steps"])
        self._metrics = {}
        self._begin = time.perf_counter()
        self._tally = Tally()
        # The first step of a run compiles the model: the tally begins behind it.
        self._mark = self._now() if self.steps else None
        self._served = (self._dataset.images_served, self._dataset.batches_served)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._first_step is None:
            self._first_step = batch
        elif self._mark is None:
            self._mark = self._now()
        self._step = batch
        self._measure()
        if time.perf_counter() - self._told > self._every:
            self._tell(is_epoch_end=False)
        self._ahead.acquire(timeout=STEP_SECONDS)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._ahead.release()
        self._metrics = dict(logs or {})

    def on_test_begin(self, logs: Any = None) -> None:
        self._end_training_part()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._end_training_part()
        self._epoch_seconds.append(time.perf_counter() - self._begin)
        self._metrics = dict(logs or {})
        self._step = self._steps
        self._tell(is_epoch_end=True)

    def _now(self) -> tuple[float, int, float]:
        return (
            time.perf_counter(),
            self._dataset.images_served,
            self._dataset.loader.meter.read().wait_seconds,
        )

    def _measure(self) -> None:
        if self._mark is not None:
            seconds, images, wait = self._now()
            begin_seconds, begin_images, begin_wait = self._mark
            self._tally = Tally(seconds - begin_seconds, images - begin_images, wait - begin_wait)

    def _end_training_part(self) -> None:
        """Stops the clock of this epoch's training: before validation, or at the end."""
        dataset = self._dataset
        images, batches = self._served
        self.images += dataset.images_served - images
        self.steps += dataset.batches_served - batches
        self._served = (dataset.images_served, dataset.batches_served)
        if self._mark is None:
            return
        self._measure()
        self._mark = None
        self.total.seconds += self._tally.seconds
        self.total.images += self._tally.images
        self.total.wait_seconds += self._tally.wait_seconds

    def _tell(self, *, is_epoch_end: bool) -> None:
        self._told = time.perf_counter()
        steps = self._steps
        epochs = self.params.get("epochs", 1)
        self._report(
            Progress(
                epoch=self._epoch,
                epochs=epochs,
                step=self._step,
                steps=steps,
                images_per_second=self._tally.images_per_second,
                seconds_left=self._seconds_left(epochs, steps, is_epoch_end=is_epoch_end),
                wait_fraction=self._tally.wait_fraction,
                metrics=self._metrics,
                is_epoch_end=is_epoch_end,
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
