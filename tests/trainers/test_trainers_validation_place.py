"""A run that goes on validates as if it had never been interrupted."""

from __future__ import annotations

import itertools
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from infeed import BackupAndRestore, Manifest, ResumeError, image_dataset_from_manifest
from infeed.trainers.backup_file import read_backup, write_backup

EPOCHS = 5


class StoppedError(Exception):
    """What interrupts a run in these tests."""


class StopAt(keras.callbacks.Callback):
    """Interrupts a run when a step of an epoch begins, or one of its validation."""

    def __init__(self, epoch, step=None, *, test_step=None):
        super().__init__()
        self.place = epoch, step
        self.test_place = epoch, test_step

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise StoppedError

    def on_test_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.test_place:
            raise StoppedError


class Run:
    """A `fit` whose learning rate hangs on the validation, begun anew as a new process would."""

    def __init__(self, pictures, folder, **held_out):
        self._pictures, self._folder, self._held_out = pictures, folder, held_out

    def data(self):
        pictures = self._pictures
        return (
            pictures.LoggedDataset(pictures.loader(12), []),
            pictures.LoggedDataset(
                pictures.loader(
                    **{"n": 20, "batch_size": 6, "classes": 3, "max_bad": 1.0} | self._held_out
                ),
                [],
            ),
        )

    def fit(self, *stop, feed=None, data=None, epochs=EPOCHS, **arguments):
        """Returns the weights and the history; None where it was stopped."""
        keras.utils.set_random_seed(7)
        model = self._pictures.model(classes=3, optimizer=keras.optimizers.SGD(0.5))
        train, held_out = data or self.data()
        callbacks = [
            keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5, min_delta=0.0),
            BackupAndRestore(self._folder, save_freq=1, delete_checkpoint=False),
            *stop,
        ]
        with train, held_out:
            arguments |= {"epochs": epochs, "verbose": 0, "callbacks": callbacks}
            validation = held_out if feed is None else getattr(held_out, feed)()
            try:
                history = model.fit(train, validation_data=validation, **arguments).history
            except StoppedError:
                assert stop
                return None
        assert not stop
        history["learning_rate"] = [float(rate) for rate in history["learning_rate"]]
        return [w.tolist() for w in self._pictures.weights_of(model)], history


@pytest.fixture
def make(pictures, tmp_path):
    """(a run to be interrupted, one that is not) over the same data."""

    def make(**held_out):
        return (
            Run(pictures, tmp_path / "interrupted", **held_out),
            Run(pictures, tmp_path / "whole", **held_out),
        )

    return make


HELD_OUT = [
    pytest.param({"remainder": "drop"}, id="shuffle"),
    pytest.param({"sampling": "replacement"}, id="replacement"),
    pytest.param({"sampling": "sequential", "bad": (4,)}, id="one-bad-image"),
    pytest.param({"remainder": "carry"}, id="carry"),
]


@pytest.mark.parametrize("held_out", HELD_OUT)
@pytest.mark.parametrize(
    "stop",
    [
        pytest.param({"epoch": 2, "step": 1}, id="in-an-epoch"),
        pytest.param({"epoch": 3, "step": 0}, id="between-epochs"),
        pytest.param({"epoch": 1, "test_step": 1}, id="in-a-validation"),
    ],
)
def test_metrics_of_every_validation_and_the_weights_are_those_of_a_whole_run(make, held_out, stop):
    run, whole = make(**held_out)
    assert run.fit(StopAt(**stop)) is None
    assert run.fit() == whole.fit()


def test_each_validation_of_such_a_run_sees_other_batches(make):
    _, whole = make(remainder="drop")
    train, held_out = whole.data()
    whole.fit(data=(train, held_out))
    batches = 20 // 6
    validations = [held_out.log[at : at + batches] for at in range(0, len(held_out.log), batches)]
    assert len(validations) == EPOCHS
    assert all(one != other for one, other in itertools.pairwise(validations))


# ReduceLROnPlateau looks for val_loss in epochs without a validation, too.
@pytest.mark.filterwarnings("ignore:Learning rate reduction is conditioned:UserWarning")
@pytest.mark.parametrize("arguments", [{"validation_freq": 2}, {"validation_steps": 2}])
@pytest.mark.parametrize("step", [0, 1])
def test_validations_that_are_rare_or_short_go_on_exactly(make, arguments, step):
    run, whole = make(sampling="replacement")
    assert run.fit(StopAt(3, step), **arguments) is None
    assert run.fit(**arguments) == whole.fit(**arguments)


@pytest.mark.parametrize("stop", [{"step": 1}, {"test_step": 1}])
def test_a_run_that_goes_on_in_the_same_process_with_the_same_data_is_exact(make, stop):
    run, whole = make(sampling="replacement")
    data = run.data()
    assert run.fit(StopAt(2, **stop), data=data) is None
    assert run.fit(data=data) == whole.fit()


def test_a_finished_run_goes_on_with_more_epochs_exactly(make):
    run, whole = make(sampling="replacement")
    run.fit(epochs=2)
    assert run.fit() == whole.fit()


@pytest.mark.parametrize(
    "feed",
    [
        pytest.param(
            feed,
            marks=pytest.mark.skipif(
                find_spec(package) is None, reason=f"{package}: `make test-backends` installs it"
            ),
        )
        for feed, package in (("as_tf_dataset", "tensorflow"), ("as_torch_loader", "torch"))
    ],
)
def test_validation_by_the_fast_paths_goes_on_exactly(make, feed):
    run, whole = make(sampling="replacement", n=50)
    assert run.fit(StopAt(2, 1), feed=feed) is None
    assert run.fit(feed=feed) == whole.fit(feed=feed)


def test_bad_images_of_the_validation_are_still_known_afterwards(make):
    run, _ = make(sampling="sequential", bad=(4,))
    run.fit(StopAt(2, 1))
    train, held_out = run.data()
    known = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            known.append(held_out.loader.quarantine.positions.tolist())
            raise StoppedError

    run.fit(Look(), data=(train, held_out))
    assert known == [[4]]


# Refused, or said


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"seed": 4}, r"seed: saved 3, now 4 \(without seed=\.\.\. another one is drawn"),
        ({"sampling": "replacement"}, "sampling: saved 'shuffle', now 'replacement'"),
        ({"n": 21}, "records: saved 20, now 21"),
    ],
)
def test_other_validation_data_is_refused_by_the_name_of_what_differs(
    make, pictures, tmp_path, other, name
):
    run, _ = make()
    run.fit(StopAt(1, 1))
    with pytest.raises(ResumeError, match=rf"(?s)validation data of the backup.*{name}"):
        Run(pictures, tmp_path / "interrupted", **other).fit()


def test_one_data_set_for_training_and_validation_is_refused(make):
    run, _ = make()
    data, _ = run.data()
    with pytest.raises(ValueError, match="one data set for training and for validation"):
        run.fit(data=(data, data))


def test_a_backup_of_an_infeed_that_kept_no_such_place_is_read_and_this_is_said(
    make, tmp_path, caplog
):
    run, whole = make(sampling="sequential")
    run.fit(StopAt(2, 1))
    path = tmp_path / "interrupted" / "backup.npz"
    backup = read_backup(path)
    del backup.state["validation"]
    write_backup(path, backup.state, backup.arrays)
    assert run.fit() == whole.fit()
    assert "kept no place of the validation data" in caplog.text


def test_validation_data_of_another_kind_is_left_alone(make, pictures):
    class Plain(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int32)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    run, whole = make()
    run.fit(StopAt(2, 1), data=(run.data()[0], Plain()))
    assert run.fit(data=(run.data()[0], Plain())) == whole.fit(data=(run.data()[0], Plain()))


def test_a_set_in_the_order_of_the_manifest_goes_on_without_a_seed(tmp_path):
    """Its stand-ins for bad images are the same in each process."""
    manifest = Manifest.from_rows(["a.png", "b.png"], ["a", "b"], images=tmp_path)
    seeds = {
        image_dataset_from_manifest(manifest, shuffle=False, verbose=False).loader.sampler.seed
        for _ in range(3)
    }
    assert len(seeds) == 1
