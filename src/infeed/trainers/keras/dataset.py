"""The data set that `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from infeed.loader import Loader
from infeed.manifest import balanced_class_weight
from infeed.manifest.labels import encode
from infeed.order import Cursor
from infeed.stream import Batch
from infeed.trainers.deliveries import Deliveries
from infeed.trainers.keras.framework import keras
from infeed.trainers.passes import Passes

# Before it trains, Keras takes a batch to learn the shapes, and then begins again. On a GPU with
# JAX it reads one further; TensorFlow as the back end looks in another way, which is told below.
LOOK_BATCHES = 2

# Through tf.data, its own prefetch and the one that Keras adds for class weights read further.
TF_DATA_LOOK_BATCHES = 6


class ImageDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of a loader as a `keras.utils.PyDataset`; its length is known.

    Between `on_epoch_begin` and `on_epoch_end`, `dataset[i]` delivers the next batch of this
    epoch's own order, whatever `i` is: Keras permutes the indices that it asks for, and the
    order is not its business. Outside, `dataset[i]` is random access: batch `i` of the epoch
    that comes next, without moving anything.

    Life cycle: threads start with a pass and end a second after nobody asks any more. When an
    epoch has been delivered whole, the first batches of the next one are made ahead, while
    Keras validates. With `steps_per_epoch` the epochs of a `fit` go on through the data; a new
    `fit` begins with a whole epoch, the next one where the last was left early. `close()`, or
    a `with` block, ends everything at once; so does the collector.

    On the PyTorch back end the batches of a pass are tensors, which share the memory of the
    arrays. On TensorFlow an error of ours comes out of `fit` as a `tf.errors.UnknownError`
    with the text inside; out of a `with` block around `fit` it comes as itself.

    Args:
        loader: where the batches come from.
        weights: deliver (images, labels, weights) instead of (images, labels). Keras then
            multiplies each row's loss by its weight; of the metrics only `weighted_metrics`
            follow it.

    Attributes:
        loader: the loader.
        class_names: the names of the classes, by label.
        num_classes: how many.
        images_served: images of weight above 0 delivered to Keras so far.
        batches_served: batches delivered to Keras so far.
        deliveries: when the latest of them were asked for and delivered.
        error: what the last batch that could not be made has raised; None if there was none.

    Raises:
        ValueError: the settings leave epochs without a batch.
    """

    def __init__(self, loader: Loader, *, weights: bool = False) -> None:
        # One worker: Keras then starts no threads of its own.
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=loader.depth)
        backend = keras.backend.backend()
        # TensorFlow takes its look by random access, outside a pass.
        self._looks_by_passes = backend != "tensorflow"
        self._passes = Passes(loader, look=LOOK_BATCHES if self._looks_by_passes else 0)
        self._form: Callable[[tuple[np.ndarray, ...]], tuple[Any, ...]] = tuple
        if backend == "torch":
            from infeed.trainers.torch.tensors import to_tensors

            self._form = to_tensors
        self.loader = loader
        self.weights = weights
        self.class_names: list[str] = list(loader.manifest.class_names)
        self.num_classes: int = loader.manifest.num_classes
        self.images_served = 0
        self.batches_served = 0
        self.deliveries = Deliveries()
        self.error: Exception | None = None

    @property
    def workers(self) -> int:
        """1: Keras starts no threads of its own. Others are refused with a `ValueError`."""
        return 1

    @workers.setter
    def workers(self, count: int) -> None:
        if count not in (0, 1):
            raise ValueError(
                f"workers={count}: threads of Keras would take batches out of their order. This "
                "data set makes them ahead in threads of its own: pass threads= when it is made."
            )

    @property
    def use_multiprocessing(self) -> bool:
        """False. True is refused with a `ValueError`."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if value:
            raise ValueError(
                "use_multiprocessing=True: a forked process has none of the threads that make the "
                "batches, and Keras would wait for it for ever. They use all cores as they are: "
                "leave it out."
            )

    @property
    def cursor(self) -> Cursor:
        """The place of the next batch to be handed out to Keras.

        Back ends read ahead, TensorFlow by many batches: what was *trained* is less.
        """
        return self._passes.cursor

    def settle(self) -> None:
        """Makes `cursor` the place where the training begins that is about to.

        For a callback's `on_train_begin`: a look that Keras has just taken through
        `as_tf_dataset` or `as_torch_loader` does not count any more.
        """
        self._passes.settle()

    def seek(self, cursor: Cursor) -> None:
        """The next pass begins at the cursor and is the rest of its epoch; then come whole ones.

        The cursor may have been saved with another number of shards. To go on with a training,
        take `BackupAndRestore`, which also tells Keras that this one epoch is shorter.

        Raises:
            RuntimeError: an epoch is being delivered.
            ValueError: the cursor lies beyond the end of its epoch.
        """
        self._passes.seek(cursor)

    @property
    def epoch(self) -> int:
        """The epoch that is being delivered, or comes next.

        May be set between epochs, to begin elsewhere.
        """
        return self._passes.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._passes.seek_epoch(epoch)

    @property
    def steps_per_epoch(self) -> int:
        """The batches of a whole epoch; `len(dataset)`, also where the next pass is less."""
        return self._passes.epochs.steps

    @property
    def class_weight(self) -> dict[int, float]:
        """A weight for each class with images that makes all classes count alike.

        For `fit(class_weight=...)`. Keras takes no class weights beside delivered weights: a data
        set that delivers weights gets `class_weight="balanced"` when it is made.
        """
        return balanced_class_weight(self.loader.manifest)

    @property
    def num_batches(self) -> int:
        """The length, for Keras, which asks before it begins a `fit`, `evaluate` or `predict`.

        That it asked is noted: a program of one's own asks `len(dataset)`.
        """
        return self._passes.ask()

    def __len__(self) -> int:
        return self._passes.length

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        asked = time.perf_counter()
        try:
            batch = self._passes.take()
        except Exception as error:
            self.error = error
            raise
        if batch is None:
            return self._passes.batch(index).as_tuple(weights=self.weights)
        return self._form(self._served(batch, asked))

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        """One epoch, for a training loop of one's own; the next loop is the next epoch."""
        for batch in self._passes.loop():
            yield batch.as_tuple(weights=self.weights)

    def as_tf_dataset(self) -> Any:
        """The same batches as a `tf.data.Dataset`, for TensorFlow, with or without Keras.

        On the TensorFlow back end it spares Keras' own look: two batches, made for each `fit`
        and `evaluate`.

        Each iteration is the next epoch; one that is left early counts as an epoch, except the
        look that Keras takes on JAX and PyTorch before it trains (a set of six batches or fewer
        may be gone with a look, and training begins with the epoch after it).

        Returns:
            A `tf.data.Dataset` of known cardinality and, but for the rows of a last batch,
            known shapes. Its attribute `infeed_dataset` is this data set.

        Raises:
            ImportError: TensorFlow is not installed.
        """
        from infeed.trainers.tensorflow.data import make_tf_data

        look = TF_DATA_LOOK_BATCHES if self._looks_by_passes else 0
        data = make_tf_data(
            lambda: self._one_pass(look), self._passes.epochs.steps, self._signature()
        )
        data.infeed_dataset = self
        return data

    def as_torch_loader(self) -> Any:
        """The same batches as a `torch.utils.data.DataLoader`, for a loop of one's own, or `fit`.

        Each iteration is the next epoch; one that is left early counts as an epoch, except after
        a look of one or two batches (a set of one batch, on some back ends of two, may be gone
        with a look, and training begins with the epoch after it).

        Returns:
            A `DataLoader` of tuples of tensors. Its attribute `infeed_dataset` is this data set.

        Raises:
            ImportError: PyTorch is not installed.
        """
        from infeed.trainers.torch.data_loader import make_data_loader

        loader = make_data_loader(lambda: self._one_pass(LOOK_BATCHES), self._passes.epochs.steps)
        loader.infeed_dataset = self
        return loader

    def on_epoch_begin(self) -> None:
        """Keras says that it begins to read."""
        self._passes.begin()

    def on_epoch_end(self) -> None:
        """Keras says that it has read; also before it reads for the first time."""
        self._passes.end()

    def close(self) -> None:
        """Ends the threads, drops the batches made ahead, and closes the cache.

        The next use starts afresh.
        """
        self._passes.close()
        self.loader.close()
        if self.error is not None:
            # The error is kept, and its frames would keep the batch that failed.
            traceback.clear_frames(self.error.__traceback__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Closes the data set; where TensorFlow has wrapped an error of ours, raises ours."""
        self.close()
        if self.error is not None and _is_wrapped(self.error, error):
            raise self.error

    def __repr__(self) -> str:
        return (
            f"ImageDataset({len(self.loader.manifest)} images of {self.num_classes} classes, "
            f"{len(self)} batches, {self.loader.recipe}, {self.loader.sampler})"
        )

    def _one_pass(self, look: int) -> Iterator[tuple[np.ndarray, ...]]:
        try:
            asked = time.perf_counter()
            for batch in self._passes.one_pass(look=look):
                yield self._served(batch, asked)
                asked = time.perf_counter()
        except Exception as error:
            self.error = error
            raise

    def _served(self, batch: Batch, asked: float) -> tuple[np.ndarray, ...]:
        self.deliveries.add(asked, time.perf_counter())
        self.batches_served += 1
        self.images_served += int(np.count_nonzero(batch.weights))
        return batch.as_tuple(weights=self.weights)

    def _signature(self) -> list[tuple[tuple[int | None, ...], str]]:
        """Shape and dtype of each array of a batch."""
        loader, manifest = self.loader, self.loader.manifest
        # Only "keep" has batches of other sizes than the others.
        rows = None if loader.sampler.remainder == "keep" else loader.sampler.batch_size
        arrays: list[np.ndarray] = [np.empty((0, *loader.recipe.shape), loader.dtype)]
        if manifest.labels is not None and loader.label_mode is not None:
            arrays.append(encode(manifest.labels[:0], loader.label_mode, manifest.num_classes))
            if self.weights:
                arrays.append(np.empty(0, np.float32))
        return [((rows, *array.shape[1:]), array.dtype.name) for array in arrays]


def _is_wrapped(error: Exception, other: BaseException | None) -> bool:
    """Whether `other` is TensorFlow's account of `error`."""
    return type(other).__module__.startswith("tensorflow.") and (
        f"{type(error).__name__}: {error}" in str(other)
    )
