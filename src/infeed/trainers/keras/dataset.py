"""The data set that `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Self

import numpy as np

from infeed.loader import BatchStream, Loader
from infeed.manifest import balanced_class_weight
from infeed.stream import Batch
from infeed.trainers.keras.framework import keras

# Before it trains, Keras takes a batch to learn the shapes (on a GPU it reads one further),
# and then begins again. That is a look, not an epoch.
LOOK_BATCHES = 2


class ImageDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of a loader as a `keras.utils.PyDataset`; its length is known.

    Between `on_epoch_begin` and `on_epoch_end`, `dataset[i]` delivers the next batch of this
    epoch's own order, whatever `i` is: Keras permutes the indices that it asks for, and the
    order is not its business. Outside, `dataset[i]` is random access: batch `i` of the epoch
    that comes next, without moving anything.

    Life cycle: threads start with a pass and end a second after nobody asks any more. When an
    epoch has been delivered whole, the first batches of the next one are made ahead, while
    Keras validates. A pass that was left early counts as an epoch, except the look that
    Keras takes at the shapes before it trains. `close()`, or a `with` block, ends everything
    at once; so does the collector.

    Args:
        loader: where the batches come from.
        weights: deliver (images, labels, weights) instead of (images, labels). Keras then
            multiplies each row's loss by its weight; of the metrics only `weighted_metrics`
            follow it.

    Attributes:
        loader: the loader.
        epoch: the epoch that is being delivered, or comes next. May be set between epochs,
            to begin elsewhere.
        class_names: the names of the classes, by label.
        num_classes: how many.
        images_served: images of weight above 0 delivered to Keras so far.
        batches_served: batches delivered to Keras so far.
    """

    def __init__(self, loader: Loader, *, weights: bool = False) -> None:
        # One worker: Keras then starts no threads of its own.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=loader.depth)
        loader.check_not_empty()
        sampler, records = loader.sampler, len(loader.manifest)
        if sampler.remainder == "carry" and sampler.batch_size * sampler.shard.count > records:
            raise ValueError(
                f"remainder='carry' with batches of {sampler.batch_size} on {sampler.shard.count} "
                f"shard(s) leaves epochs of {records} records without a batch, which Keras cannot "
                "train. Pass a smaller batch_size or remainder='keep'."
            )
        self.loader = loader
        self.weights = weights
        self.class_names: list[str] = list(loader.manifest.class_names)
        self.num_classes: int = loader.manifest.num_classes
        self.images_served = 0
        self.batches_served = 0
        # Keras asks once and keeps the answer for all epochs of a `fit`. With "carry" epochs
        # differ by one batch: then Keras' epochs are equal cuts of the stream of batches, which
        # loses nothing, and drift by less than a batch an epoch against the loader's.
        if sampler.remainder == "carry":
            self._steps = records // sampler.global_batch_size
        else:
            self._steps = loader.steps()
        self._lock = threading.RLock()
        self._epoch = 0
        self._stream: BatchStream | None = None
        self._is_inside = False
        self._served = 0
        self._looked = False
        self._is_first_pass = True

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        with self._lock:
            if self._is_inside and self._served:
                raise RuntimeError(
                    f"epoch {self._epoch} is being delivered: set dataset.epoch between epochs. "
                    "If training was interrupted, call dataset.close() first."
                )
            if epoch != self._epoch:
                self._end_stream()
                self._epoch = epoch
                if self._is_inside:
                    self._start_stream()

    @property
    def class_weight(self) -> dict[int, float]:
        """A weight for each class with images that makes all classes count alike.

        For `fit(class_weight=...)`. Keras takes no class weights beside delivered weights: a data
        set that delivers weights gets `class_weight="balanced"` when it is made.
        """
        return balanced_class_weight(self.loader.manifest)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        with self._lock:
            if self._stream is not None and self._is_inside and self._served < self._steps:
                batch = next(self._stream)
                self._served += 1
                self.batches_served += 1
                self.images_served += int(np.count_nonzero(batch.weights))
                return self._handed_over(batch)
            epoch = self._epoch
        if not -self._steps <= index < self._steps:
            raise IndexError(f"there are {self._steps} batches, got index {index}")
        return self._handed_over(self.loader.batch(*self._place(epoch, index % self._steps)))

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        """One epoch, for a training loop of one's own; the next loop is the next epoch."""
        epoch = self._epoch
        stream = self._one_epoch(epoch).__enter__()
        try:
            for batch in islice(stream, self._steps):
                yield self._handed_over(batch)
        finally:
            stream.stop()  # without waiting: the collector may close this generator
        self.epoch = epoch + 1

    def on_epoch_begin(self) -> None:
        """Keras says that it begins to read."""
        with self._lock:
            if self._is_inside:  # the pass before ended in an exception
                self.on_epoch_end()
            self._is_inside = True
            self._served = 0
            if self._stream is None:
                self._start_stream()

    def on_epoch_end(self) -> None:
        """Keras says that it has read; also before it reads for the first time."""
        with self._lock:
            if not self._is_inside:
                return
            self._is_inside = False
            # A whole set of one batch is served by a look too; and the first pass is one, since
            # Keras looks before the first `fit` of every model that was compiled.
            is_whole = self._served == self._steps
            if is_whole and not (self._is_first_pass and self._steps <= LOOK_BATCHES):
                self._is_first_pass = False
                self._epoch += 1
                self._looked = False
                if self.loader.sampler.sampling == "sequential":
                    self._end_stream()
                return
            self._is_first_pass = False
            self._end_stream()
            is_short = self._served <= LOOK_BATCHES
            if is_short and not self._looked:
                self._looked = True
                return
            # With very few steps_per_epoch every pass is as short as a look: only the first of
            # a row of them is taken for one.
            self._looked = is_short
            self._epoch += 1

    def close(self) -> None:
        """Ends the threads and drops the batches made ahead; the next use starts afresh."""
        with self._lock:
            self._is_inside = False
            self._end_stream()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"ImageDataset({len(self.loader.manifest)} images of {self.num_classes} classes, "
            f"{len(self)} batches, {self.loader.recipe}, {self.loader.sampler})"
        )

    def _start_stream(self) -> None:
        if self.loader.sampler.sampling == "sequential":
            # An evaluation seldom has another at once: make nothing ready for it.
            self._stream = self._one_epoch(self._epoch).__enter__()
        else:
            self._stream = self.loader.endless(*self._place(self._epoch, 0)).__enter__()

    def _one_epoch(self, epoch: int) -> BatchStream:
        if self.loader.sampler.remainder == "carry":  # its epochs are not the loader's
            return self.loader.endless(*self._place(epoch, 0))
        return self.loader.epoch(epoch)

    def _place(self, epoch: int, index: int) -> tuple[int, int]:
        """The loader's (epoch, number) of batch `index` of Keras' epoch `epoch`."""
        step = epoch * self._steps + index
        return self.loader.sampler.locate(len(self.loader.manifest), step)

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _handed_over(self, batch: Batch) -> tuple[np.ndarray, ...]:
        return batch.as_tuple(weights=self.weights)
