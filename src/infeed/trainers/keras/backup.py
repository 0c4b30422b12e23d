"""A training run that can be interrupted at any instant and goes on exactly where it was."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np

from infeed.errors import ResumeError
from infeed.identity import check_same
from infeed.order import Cursor
from infeed.trainers.backup_file import Backup
from infeed.trainers.backup_folder import BackupFolder
from infeed.trainers.keras import callback_state, training_state, validation_state
from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.fit_call import FitCall
from infeed.trainers.keras.framework import keras

logger = logging.getLogger(__name__)


class BackupAndRestore(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Backs up a training run, and lets `fit` go on at the very next batch after an interruption.

    Like `keras.callbacks.BackupAndRestore`, but exact, also in the middle of an epoch. One file
    holds the weights, the optimizer, the states of random generators, what the metrics have
    summed up, what the other callbacks remember (History, EarlyStopping, ReduceLROnPlateau,
    ModelCheckpoint, TensorBoard, and any with `state_dict` and `load_state_dict`), and the place
    in the data: the number of batches *trained*, and where the next validation begins, if
    `validation_data` is an `ImageDataset` too. It is replaced as a whole, so that a kill at any
    instant leaves a state that belongs together. Call the same `fit` again, with a model, data
    and callbacks made in the same way; it ends with the weights of a run that was never
    interrupted.

    Backups are made when the next step begins, so that all other callbacks have done their part
    of the step or epoch before; the place in the list of callbacks does not matter.

    Args:
        backup_dir: a folder for this run alone; made if it is not there. Where several
            processes train together, one that all of them see; the first shard writes.
        save_freq: `epoch`: after every epoch and its validation; a number: every so many
            batches, and after every epoch.
        double_checkpoint: keep the backup before the last one too, and take it when the last
            one is damaged or cannot be read.
        delete_checkpoint: remove the backup when `fit` has come to its end.
        dataset: the `ImageDataset` that is trained. Found by itself where `fit` was given it, or
            its `as_tf_dataset()` or `as_torch_loader()`.

    Attributes:
        resumed_at: how many steps the run had trained when this `fit` went on with it; 0 where
            it began.

    Raises:
        ResumeError: when `fit` begins: a data set, its order or the model are not those of
            the backup; names what differs. Or the backup is damaged.
        ValueError: `fit` was given data that is not of infeed, or one data set for training and
            for validation.
        OSError: when `fit` begins: `backup_dir` cannot be written. Later ones are logged, and
            training goes on; the last backup stays.
    """

    # Keras then does not stop the training loop for every step's metrics.
    async_safe = True

    def __init__(
        self,
        backup_dir: str | Path,
        save_freq: Literal["epoch"] | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        dataset: ImageDataset | None = None,
    ) -> None:
        super().__init__()
        if not str(backup_dir):
            raise ValueError("backup_dir must name a folder, got an empty text")
        is_count = isinstance(save_freq, int | np.integer) and not isinstance(save_freq, bool)
        if save_freq != "epoch" and not (is_count and save_freq > 0):
            raise ValueError(
                f"save_freq must be 'epoch' or a number of batches from 1, got {save_freq!r}"
            )
        self._counting = threading.Lock()
        self.backup_dir = Path(backup_dir).expanduser()
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.dataset = dataset
        self.resumed_at = 0
        self._backup: Backup | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._fit = FitCall()
        self._data = self._dataset()
        self._validation = _infeed_dataset(self._fit.validation_data)
        self._data.settle()
        self._identity = {
            **self._data.loader.identity(),
            "weights": self._data.weights,
            "fit(class_weight)": self._fit.class_weight,
            # Another one draws other random numbers, and rounds otherwise.
            "backend": keras.backend.backend(),
            "optimizer": type(self._model.optimizer).__name__,
        }
        # With steps_per_epoch, epochs of Keras are cuts of those of the data set.
        self._is_cut = self._fit.steps_per_epoch is not None
        self._steps = self._fit.steps_per_epoch or self._data.steps_per_epoch
        if self._is_cut:
            self._identity["steps_per_epoch"] = self._steps
        self._check_model()
        self._epoch = 0
        self._batch = 0  # steps of this epoch that were trained
        self._offset = 0  # the step that this epoch began with
        self._trained = 0  # steps of all epochs before this one, in this `fit`
        self.resumed_at = 0
        self._rest: int | None = None  # steps of the part of an epoch that a backup left over
        self._saved_at = 0
        self._is_new_epoch = False
        self._folder = BackupFolder(self.backup_dir, keep_previous=self.double_checkpoint)
        if self._is_writer:
            self._folder.prepare()
        self._backup = self._folder.read()
        if self._backup is None:
            # A `fit` that was interrupted may have left it behind.
            self._model._initial_epoch = None
        else:
            self._go_on(self._backup)
        self._start = self._data.cursor

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._batch = epoch, self._offset
        if self._backup is not None:
            # All callbacks have forgotten by now what they should.
            self._restore_callbacks(self._backup)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._backup is not None:
            if self._backup.state["is_in_epoch"]:
                # Once more: a schedule may have changed the learning rate for this epoch, as it
                # had before the backup, and Keras has reset the metrics.
                self._restore_callbacks(self._backup)
                self._restore_variables(self._backup, metrics=True)
            self._backup = None
        trained = self._trained_until(batch)
        is_due = self.save_freq != "epoch" and trained - self._saved_at >= self.save_freq
        if is_due or self._is_new_epoch:
            self._save(self._epoch, batch, trained, is_in_epoch=True)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Not in order: on JAX, Keras calls from threads of its own. The last execution of
        # several steps may say more than there were.
        with self._counting:
            self._batch = max(self._batch, min(batch + 1, self._steps))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._batch < self._steps and self._model.stop_training:
            return  # in the middle of an epoch, which is not over for us
        self._trained = self._trained_until(self._batch)
        self._epoch, self._batch, self._offset = epoch + 1, 0, 0
        self._is_new_epoch = True
        self._fit.end_short_epoch()
        if self._rest is not None and self._trained >= self._rest:
            self._fit.end_short_pass()
            self._rest = None

    def on_train_end(self, logs: Any = None) -> None:
        self._model._initial_epoch = None  # or the next `fit` would begin there, too
        if self._backup is not None:  # there was nothing left to train
            self._restore_callbacks(self._backup)
            has_more = self._backup.state["is_in_epoch"] and self._backup.state["batch"]
            self._backup = None
            if has_more:  # for fewer epochs than it has begun: it may yet go on
                return
        if self.delete_checkpoint:
            if self._is_writer:
                self._folder.remove()
        elif trained := self._trained_until(self._batch):
            self._save(self._epoch, self._batch, trained, is_in_epoch=self._batch > 0)

    @property
    def _is_writer(self) -> bool:
        return self._data.loader.sampler.shard.index == 0

    def _trained_until(self, batch: int) -> int:
        """Steps trained in this `fit` before step `batch` of the current epoch."""
        return self._trained + batch - self._offset

    def _dataset(self) -> ImageDataset:
        data = self._fit.data if self.dataset is None else self.dataset
        found = _infeed_dataset(data)
        if found is not None:
            return found
        raise ValueError(
            f"infeed.BackupAndRestore continues data sets of infeed, and fit was given "
            f"{type(data).__name__}. If it is made of one, pass dataset=<the ImageDataset>; for "
            "other data take keras.callbacks.BackupAndRestore."
        )

    def _check_model(self) -> None:
        """Refuses now what could not be gone on with exactly after an interruption.

        Raises:
            ValueError: says what it is.
        """
        model = self._model
        others = [
            name
            for name, value in vars(model).items()
            if isinstance(value, keras.optimizers.Optimizer) and value is not model.optimizer
        ]
        if others:
            raise ValueError(
                f"BackupAndRestore keeps the optimizer that the model was compiled with, and this "
                f"model has others ({', '.join(others)}), whose state would be lost."
            )
        if self._validation is self._data:
            raise ValueError(
                "fit was given one data set for training and for validation, each of which would "
                "move the other's place. Make another one for validation."
            )
        each = getattr(model, "steps_per_execution", 1)
        if self._is_cut and self._steps % each:
            raise ValueError(
                f"steps_per_epoch={self._steps} is no multiple of steps_per_execution={each}: "
                "Keras then trains more steps than it tells. Choose a multiple."
            )
        # What a callback remembers must be storable: found out now, not at the first backup.
        callback_state.captured(self._others(), [])

    def _go_on(self, backup: Backup) -> None:
        """Brings model, data and Keras to the place of a backup."""
        state = backup.state
        saved, current = dict(state["identity"]), dict(self._identity)
        if saved["shards"] != current["shards"]:  # the same epochs, in other steps
            saved.pop("steps_per_epoch", None)
            current.pop("steps_per_epoch", None)
        what = f"the backup {self._folder.file}"
        check_same(saved, current, what)
        self._go_on_validating(state, what)
        model = self.model
        if not (model.built and training_state.has_metrics(model, state["variables"])):
            self._build(model)
        self._restore_variables(backup, metrics=False)
        self._data.loader.quarantine.load_state_dict(state["bad_images"])
        cursor = Cursor.from_json(state["cursor"])
        self._data.seek(cursor)
        epoch = state["epoch"]
        if self._data.loader.sampler.remainder != "carry" and not self._is_cut:
            # On another number of shards "drop" may leave out what was left of the epoch.
            epoch += self._data.cursor.epoch - cursor.epoch
        model._initial_epoch = epoch
        # With another number of shards the rest may be more or fewer steps.
        batch = self._steps - len(self._data)
        if self._is_cut:
            samples = state["batch"] * state["global_batch_size"]
            batch = samples // self._data.loader.sampler.global_batch_size
            batch = min(batch, self._steps - 1)
        self._rest = len(self._data)
        self._offset, self.resumed_at = batch, state["trained"]
        is_told = self._fit.begin_epoch_at(batch, rest=self._rest)
        if self._is_cut and not is_told:
            raise ResumeError(
                f"{self._folder.file} was made by a fit with steps_per_epoch={self._steps}, which "
                f"this version of Keras, {keras.__version__}, cannot be told to go on with. Resume "
                f"with the one that it was made with, {state['keras']}."
            )
        logger.info("Going on with step %d of epoch %d, from %s", batch, epoch, self._folder.file)

    def _go_on_validating(self, state: dict[str, Any], what: str) -> None:
        if self._validation is None:
            return
        if "validation" not in state:
            logger.warning(
                "%s was made by an infeed that kept no place of the validation data: if that is "
                "shuffled or has bad images, its metrics are not those of an uninterrupted run",
                what,
            )
        elif state["validation"] is not None:
            validation_state.restore(self._validation, state["validation"], what)

    def _build(self, model: Any) -> None:
        """Makes what TensorFlow makes in the first step only, as far as it can be made before."""
        try:
            training_state.build(model, self._data[0])
        except Exception as error:
            # A training step of the user's own, or data that is mapped before it comes to the
            # model: only the metrics are not there yet.
            if not model.built:
                error.add_note("Build the model before fit: BackupAndRestore has to fill it.")
                raise
            logger.debug("The metrics could not be built before training: %s", error)

    def _restore_variables(self, backup: Backup, *, metrics: bool) -> None:
        description = backup.state["variables"]
        if metrics and not training_state.has_metrics(self.model, description):
            logger.warning(
                "The metrics of the model are not those of the backup: in this epoch they tell "
                "of the steps from here on only"
            )
            metrics = False
        training_state.restore(self.model, description, backup.arrays, metrics=metrics)

    def _restore_callbacks(self, backup: Backup) -> None:
        callback_state.restore(self._others(), backup.state["callbacks"], backup.arrays)

    def _others(self) -> list[Any]:
        return [callback for callback in self._fit.callbacks if callback is not self]

    # Writing

    def _save(self, epoch: int, batch: int, trained: int, *, is_in_epoch: bool) -> None:
        self._saved_at, self._is_new_epoch = trained, False
        if not self._is_writer:
            return
        sampler, n = self._data.loader.sampler, len(self._data.loader.manifest)
        # The back end may still be training: `self.model` waits until it has.
        variables, arrays = training_state.captured(self.model)
        validation = self._validation
        state = {
            "keras": keras.__version__,
            "identity": self._identity,
            "global_batch_size": sampler.global_batch_size,
            "cursor": sampler.advance(n, self._start, trained).to_json(),
            "epoch": epoch,
            "batch": batch,
            "trained": self.resumed_at + trained,
            "is_in_epoch": is_in_epoch,
            "bad_images": self._data.loader.quarantine.state_dict(),
            "validation": None if validation is None else validation_state.captured(validation),
            "variables": variables,
            "callbacks": callback_state.captured(self._others(), arrays),
        }
        try:
            self._folder.write(state, arrays)
        except OSError as error:
            logger.warning("No backup after step %d of the run: %s", state["trained"], error)


def _infeed_dataset(data: Any) -> ImageDataset | None:
    """The data set of infeed that `fit` was given, or from which that was made; None: no such."""
    found = getattr(data, "infeed_dataset", data)
    return found if isinstance(found, ImageDataset) else None
