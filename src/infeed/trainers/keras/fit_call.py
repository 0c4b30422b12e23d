"""The `fit` that is running: what Keras tells no callback about it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, final

from infeed.trainers.keras.framework import keras


@final
class FitCall:
    """The innermost `fit` of this thread, found on the stack from a callback's method.

    Keras gives a callback neither the data nor the other callbacks. Here they are taken from
    where `fit` and `CallbackList` hold them, by names that are public (the arguments of `fit`,
    `CallbackList.callbacks`) except one, the iterator over epochs, which may be missing or
    another one in another version of Keras.

    Attributes:
        data: the training data that `fit` was given; None where no `fit` is running.
        validation_data: as `fit` was given it.
        steps_per_epoch: as `fit` was given it.
        class_weight: as `fit` was given it, with texts for keys as in JSON.
        callbacks: all callbacks of this `fit`, in the order in which they are called.

    Raises:
        RuntimeError: no `CallbackList` is calling.
    """

    def __init__(self) -> None:
        self.data: Any = None
        self.validation_data: Any = None
        self.steps_per_epoch: int | None = None
        self.class_weight: dict[str, float] | None = None
        self._list: Any = None
        self._iterator: Any = None
        self._is_numbered = False
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            names = frame.f_locals
            if self._list is None and isinstance(names.get("self"), keras.callbacks.CallbackList):
                self._list = names["self"]
            if frame.f_code.co_name == "fit" and "x" in names and "epochs" in names:
                self.data = names["x"]
                self.validation_data = names.get("validation_data")
                self.steps_per_epoch = names.get("steps_per_epoch")
                if class_weight := names.get("class_weight"):
                    self.class_weight = {str(c): float(w) for c, w in class_weight.items()}
                self._iterator = names.get("epoch_iterator")
                break
            frame = frame.f_back
        if self._list is None:
            raise RuntimeError(
                "this callback must be called by a keras.callbacks.CallbackList, as `fit` does: "
                "without it nothing is known of the other callbacks"
            )

    @property
    def callbacks(self) -> list[Any]:
        return list(self._list.callbacks)

    def put_first(self, callback: Any) -> None:
        """Has a callback called before all others, also where `CallbackList` is calling them now.

        All callbacks get the same dict of logs, one after the other: what the first one adds,
        the others see.
        """
        # In place: a loop over the list that has come to this callback misses none, and calls
        # none twice, since only those before it move.
        for index, each in enumerate(self._list.callbacks):
            if each is callback:
                del self._list.callbacks[index]
                self._list.callbacks.insert(0, callback)
                return

    def begin_epoch_at(self, batch: int, *, rest: int) -> bool:
        """Lets the coming epoch begin with step number `batch`, and end where it would have.

        Callbacks are told the numbers from there on. Where `fit` was given no steps_per_epoch,
        the epoch is the pass over the data, of which `rest` batches are left.

        Returns:
            Whether Keras could be told. If not, it ends the epoch with a warning when the data
            ends.
        """
        if batch:
            begin, end = self._list.on_train_batch_begin, self._list.on_train_batch_end
            self._list.on_train_batch_begin = lambda n, logs=None: begin(n + batch, logs)
            self._list.on_train_batch_end = lambda n, logs=None: end(n + batch, logs)
            self._is_numbered = True
        if not hasattr(self._iterator, "reset") or not hasattr(self._iterator, "_num_batches"):
            return False
        # Now it asks the data once more how many batches there are.
        self._iterator.reset()
        # A tf.data.Dataset and a DataLoader tell the whole length whatever is left.
        self._iterator._num_batches = rest
        if self.steps_per_epoch is not None:
            self._iterator.steps_per_epoch = self.steps_per_epoch - batch
        return True

    def end_short_epoch(self) -> None:
        """Lets the next epoch begin with step 0 again. May be called more than once."""
        if self._is_numbered:
            del self._list.on_train_batch_begin, self._list.on_train_batch_end
            self._is_numbered = False
        if hasattr(self._iterator, "steps_per_epoch"):
            self._iterator.steps_per_epoch = self.steps_per_epoch

    def end_short_pass(self) -> None:
        """Lets Keras ask the data again how many batches there are."""
        if not hasattr(self._iterator, "reset"):
            return
        # With steps_per_epoch Keras has begun the next pass already. Were that one dropped, it
        # would begin it once more, and on PyTorch each beginning draws from the generator that
        # layers draw from.
        begun = getattr(self._iterator, "_current_iterator", None)
        self._iterator.reset()
        if self.steps_per_epoch is not None:
            self._iterator._current_iterator = begun
