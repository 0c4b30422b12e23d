"""`InputMonitor`: what of a training is waiting for data, and what would help."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.fit_call import FitCall
from infeed.trainers.keras.framework import keras
from infeed.trainers.stall_clock import StallClock
from infeed.trainers.steps_ahead import STEP_SECONDS
from infeed.verdict import INPUT_SHARE, Mark, Verdict, facts_between, judge, mark

logger = logging.getLogger(__name__)

EPOCH_LOGS: Final = ("data_wait_ms", "images_per_second", "cache_hit_rate", "bad_images")
"""What is added to the logs of an epoch, in all epochs the same."""

BATCH_LOG: Final = "data_wait"
"""What is added to the logs of a step, for the progress bar."""

# To leave out the last step of an epoch there must be others.
_FEWEST_STEPS: Final = 4


@dataclass(frozen=True, slots=True)
class Tally:
    """Training time, and what happened in it; validation and compilation are left out.

    Attributes:
        seconds: wall time.
        images: images trained.
        wait_seconds: the time in which training stood still for want of a batch.
    """

    seconds: float = 0.0
    images: int = 0
    wait_seconds: float = 0.0

    def __add__(self, more: Tally) -> Tally:
        return Tally(
            self.seconds + more.seconds,
            self.images + more.images,
            self.wait_seconds + more.wait_seconds,
        )

    @property
    def images_per_second(self) -> float:
        """0 where nothing was measured."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    @property
    def wait_fraction(self) -> float:
        """The share of the time that was waiting, 0..1; 0 where nothing was measured."""
        return min(1.0, self.wait_seconds / self.seconds) if self.seconds > 0 else 0.0


class InputMonitor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells whether training waits for data, in the logs, and in a line what would help.

    Adds to the logs of each epoch, for whatever other callback reads them, and whatever its place
    in the list:

    - `data_wait_ms`: milliseconds a step in which training stood still because no batch was
      there. A batch that is waited for while the device still works on the step before is none:
      where steps are dispatched ahead of the device (JAX), the time of a step says nothing.
    - `images_per_second`: of the training part of the epoch.
    - `cache_hit_rate`: the share of its images that came from the cache, 0..1; 0 without one.
    - `bad_images`: different images that could not be had, since the data set was made.

    All are floats, under the same names in every epoch. The first step of a `fit`, which
    compiles, is left out, and the last one of its first epoch, which may compile again for a short
    batch; so is validation. An epoch of which nothing is left then has NaN for the first two. The
    logs of a step get `data_wait`, the share of the epoch so far that was waiting, 0..1, which
    the progress bar shows.

    A step costs it a few microseconds, and no step is waited for.

    Args:
        dataset: the training data. None: what `fit` was given, an `ImageDataset` or what its
            `as_tf_dataset` or `as_torch_loader` made. With data of another kind it warns once and
            adds nothing.
        verbose: 1: print the verdict after the first epoch, and when it has changed; 2: after
            each; 0: never; "auto": as `fit` is verbose, but 1 for 2.
        report: called with each line instead of `print`.

    Attributes:
        verdict: of the last epoch that could be judged, which takes batches made meanwhile; None
            before there was one.
        verdicts: of all such epochs of all `fit`s, in order.
        news: `verdict` if it says something new: the first one, and one that differs from what was
            said last and has been the same for two epochs. Otherwise None.
        total: all that was measured, of all `fit`s.

    Raises:
        ValueError: `verbose` is something else.
        TypeError: `dataset` is no data set of infeed.
    """

    # Keras then calls `on_train_batch_end` from threads of its own, and does not stop the
    # training loop to fetch the metrics of every step.
    async_safe = True

    def __init__(
        self,
        dataset: ImageDataset | None = None,
        *,
        verbose: Literal["auto", 0, 1, 2] = "auto",
        report: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        found: Any = getattr(dataset, "infeed_dataset", dataset)
        if found is not None and not isinstance(found, ImageDataset):
            raise TypeError(
                "dataset must be an ImageDataset, such as image_dataset_from_manifest makes, or "
                f"what its as_tf_dataset or as_torch_loader made, got {type(dataset).__name__}"
            )
        self.dataset: ImageDataset | None = found
        self.verbose = verbose
        self.verdict: Verdict | None = None
        self.verdicts: list[Verdict] = []
        self.news: Verdict | None = None
        self._said: Verdict | None = None
        self.total = Tally()
        self._report = report or print
        self._data: ImageDataset | None = None
        self._clock = _new_clock(None)
        self._has_warned = False
        self._is_cut = False  # whether epochs go on where the last one has ended in the data
        self._seen = 0  # deliveries that the clock knows
        self._is_first_epoch = True
        self._is_training = False
        self._steps = 0  # begun in this epoch
        self._first = 0  # Keras' number of the first of them, not 0 after an interruption
        self._begun = 0  # steps of this `fit` before this epoch
        self._served = (0, 0)  # images and batches, when this epoch began
        self._begin: _Moment | None = None
        self._end: _Moment | None = None
        self._is_end_of_part = False  # whether that is the end of all training of this epoch
        self._line = ""

    def on_train_begin(self, logs: Any = None) -> None:
        self._is_training = False
        given, self._is_cut = self.dataset, False
        try:
            fit = FitCall()
        except RuntimeError:  # called by hand
            pass
        else:
            fit.put_first(self)
            self._is_cut = fit.steps_per_epoch is not None
            if given is None:
                given = getattr(fit.data, "infeed_dataset", fit.data)
        self._data = given if isinstance(given, ImageDataset) else None
        if self._data is None:
            logger.warning(
                "infeed.InputMonitor watches data sets of infeed, and fit was given %s: it adds "
                "nothing to the logs. If that is made of one, pass dataset=<the ImageDataset>.",
                type(given).__name__,
            )
            return
        self._clock = _new_clock(self.model)
        self._seen = self._data.deliveries.count
        self._is_first_epoch = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._say()
        data = self._data
        if data is None:
            return
        if not self._is_cut:
            self._clock.begin_pass()
            self._seen = data.deliveries.count
        self._steps = 0
        self._begun = self._clock.begun
        self._served = (data.images_served, data.batches_served)
        self._is_training = True
        self._begin = None if self._is_first_epoch else self._moment(data, in_step=False)
        self._end = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        data = self._data
        if data is None or not self._is_training:
            return
        new = data.deliveries.since(self._seen)
        self._seen += len(new)
        self._clock.begin_step(time.perf_counter(), new, threading.get_ident())
        if not self._steps:
            self._first = batch
        elif self._begin is None:
            self._clock.wait_for_end(STEP_SECONDS)
            self._begin = self._moment(data, in_step=True)
        self._steps += 1
        if self._is_first_epoch and self._is_last(batch) and self._steps >= _FEWEST_STEPS:
            self._clock.wait_for_end(STEP_SECONDS)
            self._end = self._moment(data, in_step=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._data is None:
            return
        now = time.perf_counter()
        clock = self._clock
        number = self._begun + (batch - self._first) // clock.batches_a_step + 1
        clock.end_step(number, now)
        if logs is not None:
            begin = self._begin
            seconds = 0.0 if begin is None else now - begin.mark.seconds
            waited = 0.0 if begin is None else clock.seconds - begin.stall_seconds
            logs[BATCH_LOG] = min(1.0, max(0.0, waited / seconds)) if seconds > 0 else 0.0

    def on_test_begin(self, logs: Any = None) -> None:
        self._end_training_part()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        data = self._data
        if data is None:
            return
        self._end_training_part()
        if self._end is not None and self._is_end_of_part:
            # Of the last steps it is known only now when they ended.
            self._end = replace(self._end, stall_seconds=self._clock.seconds)
        begin, end = self._begin, self._end
        self._is_first_epoch = False
        self.news = None
        if logs is None:
            logs = {}
        logs |= dict.fromkeys(EPOCH_LOGS[:2], math.nan)
        counts = data.loader.cache_counts
        if data.batches_served == self._served[1] and self._steps:
            self._warn_of_nothing(data)
        elif begin is not None and end is not None and end.step > begin.step:
            tally = self._between(begin, end)
            self.total += tally
            facts = facts_between(
                begin.mark,
                end.mark,
                data.loader,
                stall_seconds=tally.wait_seconds,
                steps=(end.step - begin.step) * self._clock.batches_a_step,
                images=tally.images,
            )
            logs["data_wait_ms"] = facts.wait_ms
            logs["images_per_second"] = tally.images_per_second
            counts = end.mark.counts - begin.mark.counts
            if facts.stall_share < INPUT_SHARE or facts.busy_seconds > 0:
                self._judge(judge(facts))
        logs["cache_hit_rate"] = counts.hit_rate
        logs["bad_images"] = float(data.loader.quarantine.count())

    def on_train_end(self, logs: Any = None) -> None:
        self._say()

    @property
    def tally(self) -> Tally:
        """This epoch so far, or after its end."""
        data = self._data
        if data is None or self._begin is None:
            return Tally()
        if self._end is not None:
            return self._between(self._begin, self._end)
        seconds = time.perf_counter() - self._begin.mark.seconds
        images = data.images_served - self._begin.images
        return Tally(seconds, images, self._clock.seconds - self._begin.stall_seconds)

    def _warn_of_nothing(self, data: ImageDataset) -> None:
        """Says once that the batches come some other way than it can see."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "infeed.InputMonitor saw no batch of %r in an epoch: fit gets them in another way "
                "than from the data set itself, its as_tf_dataset or its as_torch_loader. Waiting "
                "and speed are not known then.",
                data,
            )

    def _judge(self, verdict: Verdict) -> None:
        is_new = not verdict.says_the_same_as(self._said)
        # One epoch may be disturbed: what has changed is said when it has lasted.
        has_lasted = self._said is None or verdict.says_the_same_as(self.verdict)
        self.news = verdict if is_new and has_lasted else None
        self._said = self.news or self._said
        self.verdict = verdict
        self.verdicts.append(verdict)
        verbose = self.verbose
        if verbose == "auto":
            verbose = 1 if self.params.get("verbose", 1) else 0
        if verbose == 2 or (verbose == 1 and self.news is not None):
            self._line = f"infeed: {verdict}"

    def _say(self) -> None:
        """Says what there is to say of the last epoch, now that its progress bar has ended."""
        line, self._line = self._line, ""
        if line:
            self._report(line)

    def _is_last(self, batch: int) -> bool:
        steps = self.params.get("steps")
        return steps is not None and batch + self._clock.batches_a_step >= steps

    def _end_training_part(self) -> None:
        """Stops the clock of this epoch's training: before validation, or at the end."""
        if not self._is_training or self._data is None:
            return
        self._is_training = False
        self._is_end_of_part = self._end is None
        if self._end is None:
            self._end = self._moment(self._data, in_step=False)

    def _moment(self, data: ImageDataset, *, in_step: bool) -> _Moment:
        """Now; `in_step`: when a step has just begun."""
        new = data.deliveries.since(self._seen)
        self._seen += len(new)
        stall = self._clock.settle(new, threading.get_ident())
        step = self._clock.begun - 1 if in_step else self._clock.begun
        return _Moment(mark(data.loader), stall, data.images_served, step)

    def _between(self, begin: _Moment, end: _Moment) -> Tally:
        """What was trained between two moments of this epoch."""
        assert self._data is not None
        images, batches = self._served
        images = self._data.images_served - images
        batches = max(1, self._data.batches_served - batches)
        # Back ends read ahead: what was served between the two is not what was trained.
        trained = (end.step - begin.step) * self._clock.batches_a_step
        seconds = end.mark.seconds - begin.mark.seconds
        waited = max(0.0, end.stall_seconds - begin.stall_seconds)
        return Tally(seconds, round(images * min(1.0, trained / batches)), min(waited, seconds))


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment of an epoch.

    Attributes:
        mark: what the loader's counters show.
        stall_seconds: what the clock shows.
        images: that were served.
        step: how many steps of the `fit` lie before it.
    """

    mark: Mark
    stall_seconds: float
    images: int
    step: int


def _new_clock(model: Any) -> StallClock:
    backend = keras.backend.backend()
    return StallClock(
        asks_in_step=backend != "torch",
        is_asynchronous=backend != "torch" or not _is_on_cpu(model),
        batches_a_step=getattr(model, "steps_per_execution", None) or 1,
    )


def _is_on_cpu(model: Any) -> bool:
    """Whether PyTorch computes a model where its calls return when they are done."""
    devices = {
        getattr(getattr(weight.value, "device", None), "type", None)
        for weight in getattr(model, "weights", [])
    }
    return devices <= {"cpu"}
