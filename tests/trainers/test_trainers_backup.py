"""`fit` goes on at the very next batch after an interruption, and everybody sees one run."""

from __future__ import annotations

import contextlib
import csv
import itertools
import logging
import re
from importlib.util import find_spec
from itertools import chain

import keras
import numpy as np
import pytest

import infeed
from infeed import BackupAndRestore, ResumeError
from infeed.trainers.backup_file import read_backup, write_backup

SETTINGS = {"n": 22, "batch_size": 4}
STEPS = 6  # of an epoch of 22 records

# Under numpy 2, two of Keras' own callbacks warn on JAX.
OLD_ARRAYS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def needs(package):
    return pytest.mark.skipif(
        find_spec(package) is None, reason=f"{package}: `make test-backends` installs it"
    )


class StoppedError(Exception):
    """What interrupts a run in these tests."""


class StopAfter(keras.callbacks.Callback):
    """Interrupts a run when so many steps were trained, over all epochs."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_begin(self, batch, logs=None):
        if not self.left:
            raise StoppedError
        self.left -= 1


class Numbers(keras.callbacks.Callback):
    """Notes the numbers of epochs and steps that Keras tells."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.told.append((self.epoch, batch))


@pytest.fixture
def run(pictures, tmp_path):
    """Runs `fit` on a new model with a backup in `tmp_path`; stopped after so many steps."""

    def run(
        stop_after=None, *, epochs=2, callbacks=(), backup=None, settings=None, feed=None, **fit
    ):
        keras.utils.set_random_seed(7)
        model = pictures.model(optimizer="adam", metrics=["accuracy"])
        options = {"save_freq": 1, "delete_checkpoint": False} | (backup or {})
        every = [BackupAndRestore(tmp_path / "备份", **options), *callbacks]
        if stop_after is not None:
            every.append(StopAfter(stop_after))
        data = pictures.LoggedDataset(pictures.loader(**SETTINGS | (settings or {})), [])
        held_out = pictures.LoggedDataset(pictures.loader(5, sampling="sequential"), [])
        with data, held_out:
            try:
                fit.setdefault("validation_data", held_out)
                x = data if feed is None else getattr(data, feed)()
                model.fit(x, epochs=epochs, callbacks=every, **{"verbose": 0} | fit)
            except StoppedError:
                assert stop_after is not None
        model.dataset_log = data.log
        return model

    return run


def state_of(model):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in every_variable(model)]


def every_variable(model):
    return [*model.variables, *model.optimizer.variables]


def assert_same_weights(one, other):
    for a, b in zip(state_of(one), state_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def whole(run, tmp_path):
    """A run that was never interrupted, with a backup folder of its own."""

    def whole(**arguments):
        folder = tmp_path / "备份"
        model = run(**arguments)
        for file in folder.iterdir():
            file.unlink()
        return model

    return whole


# Exact


def test_a_run_stopped_after_any_step_ends_with_the_weights_of_a_whole_run(run, whole):
    expected = whole()
    for steps in range(2 * STEPS):
        run(stop_after=steps, backup={"delete_checkpoint": True})
        resumed = run(backup={"delete_checkpoint": True})
        assert_same_weights(resumed, expected)
        assert resumed.history.history == expected.history.history


def test_a_run_stopped_after_every_step_ends_with_the_weights_of_a_whole_run(run, whole):
    expected = whole(epochs=1)
    for _ in range(STEPS):
        run(stop_after=1, epochs=1)
    assert_same_weights(run(epochs=1), expected)


@pytest.mark.parametrize("save_freq", [2, 5, "epoch"])
def test_steps_after_the_last_backup_are_trained_again_exactly(run, whole, save_freq):
    expected = whole(backup={"save_freq": save_freq})
    for stop in (4, 9):
        run(stop_after=stop, backup={"save_freq": save_freq})
    assert_same_weights(run(backup={"save_freq": save_freq}), expected)


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad", "carry"])
def test_resuming_is_exact_for_every_remainder(run, whole, remainder):
    settings = {"remainder": remainder}
    expected = whole(settings=settings, epochs=3)
    for stop in (4, 5):
        run(stop_after=stop, settings=settings, epochs=3)
    assert_same_weights(run(settings=settings, epochs=3), expected)


@pytest.mark.parametrize("sampling", ["sequential", "replacement", "balanced", {0: 1.0, 1: 3.0}])
def test_resuming_is_exact_for_every_sampling(run, whole, sampling):
    settings = {"sampling": sampling}
    expected = whole(settings=settings)
    run(stop_after=8, settings=settings)
    assert_same_weights(run(settings=settings), expected)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # 4 and 2 of 6
@pytest.mark.parametrize("steps_per_epoch", [2, 3, 4])
def test_resuming_is_exact_with_steps_per_epoch(run, whole, steps_per_epoch):
    arguments = {"steps_per_epoch": steps_per_epoch, "epochs": 5, "validation_data": None}
    expected = whole(**arguments)
    for stop in (1, 3, 2):
        run(stop_after=stop, **arguments)
    resumed = run(**arguments)
    assert_same_weights(resumed, expected)
    assert resumed.history.epoch == expected.history.epoch == list(range(5))


def test_every_record_of_an_interrupted_epoch_is_trained_once(run, pictures):
    stopped = run(stop_after=STEPS + 2)
    resumed = run()
    (first, second) = pictures.epochs(pictures.loader(**SETTINGS), range(2))
    # One more is read to learn the shapes; TensorFlow also reads ahead.
    assert stopped.dataset_log[-(STEPS + 2) :] != []
    assert resumed.dataset_log[-(STEPS - 2) :] == second[2:]
    assert sorted(chain.from_iterable(first)) == list(range(22))


def test_a_model_that_is_not_built_yet_is_resumed_too(pictures, tmp_path, whole):
    ends = []
    for stops in ([], [STEPS + 3]):
        for stop in [*stops, None]:
            keras.utils.set_random_seed(7)
            model = pictures.model(built=False, optimizer="adam", metrics=["accuracy"])
            backup = BackupAndRestore(tmp_path / f"{len(stops)}", 1)
            callbacks = [backup] if stop is None else [backup, StopAfter(stop)]
            with pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data:
                if stop is None:
                    history = model.fit(data, epochs=2, verbose=0, callbacks=callbacks).history
                else:
                    with pytest.raises(StoppedError):
                        model.fit(data, epochs=2, verbose=0, callbacks=callbacks)
        ends.append((state_of(model), history))
    (whole_state, whole_history), (state, history) = ends
    assert history == whole_history
    for a, b in zip(state, whole_state, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "feed",
    [
        pytest.param("as_tf_dataset", marks=needs("tensorflow")),
        pytest.param("as_torch_loader", marks=needs("torch")),
    ],
)
@pytest.mark.parametrize(
    ("remainder", "steps_per_epoch", "stops"),
    [("keep", None, (3, STEPS)), ("carry", None, (3, STEPS)), ("keep", 3, (4, 1))],
)
def test_resuming_is_exact_by_the_fast_paths(run, whole, feed, remainder, steps_per_epoch, stops):
    arguments = {
        "feed": feed,
        "shuffle": False,
        "settings": {"remainder": remainder},
        "steps_per_epoch": steps_per_epoch,
        "epochs": 4,
    }
    expected = whole(**arguments)
    for stop in stops:
        run(stop_after=stop, **arguments)
    resumed = run(**arguments)
    assert_same_weights(resumed, expected)
    assert resumed.history.history == expected.history.history


def test_a_fit_resumed_twice_in_one_process_with_one_data_set_is_exact(
    pictures, tmp_path, whole, run
):
    expected = whole()
    with (
        pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data,
        pictures.LoggedDataset(pictures.loader(5, sampling="sequential"), []) as held_out,
    ):
        for stop in (2, 1, 2, 4, None):
            keras.utils.set_random_seed(7)
            model = pictures.model(optimizer="adam", metrics=["accuracy"])
            backup = BackupAndRestore(tmp_path / "one", 1)
            callbacks = [backup] if stop is None else [backup, StopAfter(stop)]
            with contextlib.suppress(StoppedError):
                model.fit(data, validation_data=held_out, epochs=2, verbose=0, callbacks=callbacks)
    assert_same_weights(model, expected)
    assert model.history.history == expected.history.history


# What others see


def test_callbacks_are_told_the_true_numbers_of_epochs_and_steps(run):
    numbers = Numbers()
    run(stop_after=STEPS + 2, epochs=3)
    run(epochs=3, callbacks=[numbers])
    every = list(itertools.product(range(3), range(STEPS)))
    assert numbers.told == every[STEPS + 2 :]


def test_the_progress_bar_goes_on_where_it_was(run, capsys):
    run(stop_after=2, epochs=1)
    capsys.readouterr()
    run(epochs=1, verbose=1)
    drawn = re.findall(r"(\d+)/6\b", capsys.readouterr().out)
    assert drawn[0] == "3"
    assert drawn[-1] == "6"


def test_the_history_that_fit_returns_is_that_of_the_whole_run(run, whole):
    expected = whole(epochs=3).history
    run(stop_after=STEPS + 3, epochs=3)
    history = run(epochs=3).history
    assert history.epoch == [0, 1, 2]
    assert history.history == expected.history


def test_early_stopping_counts_over_the_interruption(run, whole):
    def patient():
        # Never better than at first: stops after 3 epochs.
        return [keras.callbacks.EarlyStopping("loss", patience=2, mode="max", min_delta=100)]

    arguments = {"epochs": 9, "validation_data": None}
    expected = whole(callbacks=patient(), **arguments)
    run(stop_after=2 * STEPS + 1, callbacks=patient(), **arguments)
    resumed = run(callbacks=patient(), **arguments)
    assert resumed.history.epoch == expected.history.epoch == [0, 1, 2]


@OLD_ARRAYS
def test_the_best_weights_of_early_stopping_survive(run, whole):
    def best():
        return [
            keras.callbacks.EarlyStopping(
                "loss", patience=9, mode="max", min_delta=100, restore_best_weights=True
            )
        ]

    expected = whole(epochs=3, callbacks=best())
    run(stop_after=STEPS + 1, epochs=3, callbacks=best())
    assert_same_weights(run(epochs=3, callbacks=best()), expected)


@OLD_ARRAYS
@pytest.mark.parametrize("is_first", [True, False])
def test_schedules_change_the_learning_rate_once_an_epoch(run, whole, is_first):
    def schedules():
        return [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
            keras.callbacks.ReduceLROnPlateau("loss", patience=1, mode="max", min_delta=100),
        ][:: 1 if is_first else -1]

    expected = whole(epochs=4, callbacks=schedules())
    for stop in (STEPS + 3, STEPS, STEPS):
        run(stop_after=stop, epochs=4, callbacks=schedules())
    assert_same_weights(run(epochs=4, callbacks=schedules()), expected)


def test_a_csv_log_that_is_appended_to_has_one_row_an_epoch(run, tmp_path):
    def log():
        return [keras.callbacks.CSVLogger(tmp_path / "log.csv", append=True)]

    interrupted = log()
    run(stop_after=STEPS + 3, epochs=3, callbacks=interrupted)
    interrupted[0].on_train_end()  # the end of the process closes its file
    run(epochs=3, callbacks=log())
    with (tmp_path / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]


def test_a_callback_of_the_users_own_takes_part(run):
    class Counting(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.batches, self.rows = 0, np.zeros(3)

        def on_train_begin(self, logs=None):
            self.batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            self.rows = self.rows + 1

        def state_dict(self):
            plain = {"names": ["a", None], "best": np.float32(0.5), "is_best": np.bool_(True)}
            return {"batches": self.batches, "rows": self.rows, **plain}

        def load_state_dict(self, state):
            self.batches, self.rows = state["batches"], state["rows"]
            assert state["names"] == ["a", None]
            assert (state["best"], state["is_best"]) == (0.5, True)

    first, second = Counting(), Counting()
    run(stop_after=STEPS + 3, callbacks=[first])
    run(callbacks=[second])
    assert second.batches == 2 * STEPS
    assert second.rows.tolist() == [2 * STEPS] * 3


def test_a_second_fit_begins_at_epoch_0_of_its_own_and_goes_on_in_the_data(pictures, tmp_path):
    model = pictures.model()
    with pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data:
        with pytest.raises(StoppedError):
            model.fit(
                data, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path), StopAfter(9)]
            )
        model.fit(data, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
        assert data.epoch == 3
        again = model.fit(data, epochs=2, verbose=0, callbacks=[BackupAndRestore(tmp_path)])
        assert again.epoch == [0, 1]
        assert data.epoch == 5


def test_more_epochs_go_on_from_the_end_of_a_run_whose_backup_was_kept(run, whole):
    expected = whole(epochs=4)
    run(epochs=2)
    resumed = run(epochs=4)
    assert_same_weights(resumed, expected)
    assert resumed.history.history == expected.history.history


def test_a_finished_run_trains_nothing_more(run):
    finished = run(epochs=2)
    again = run(epochs=2)
    assert_same_weights(again, finished)


def test_the_backup_is_removed_at_the_end_unless_it_is_to_be_kept(run, tmp_path):
    run(epochs=1)
    assert [file.name for file in (tmp_path / "备份").iterdir()] == ["backup.npz"]
    run(epochs=1, backup={"delete_checkpoint": True})
    assert not (tmp_path / "备份").exists()


# Another number of shards


@pytest.mark.parametrize(
    ("before", "after", "batch_size"),
    [(1, 2, 6), (2, 1, 6), (2, 3, 4)],  # the last has the same batches over all shards
)
def test_a_run_goes_on_with_another_number_of_shards(pictures, tmp_path, before, after, batch_size):
    def train(count, batch_size, stop=None):
        """Every shard by itself, as its process would; returns what each was handed."""
        handed = []
        for index in reversed(range(count)):  # the first shard writes, so it comes last
            loader = pictures.loader(48, batch_size=batch_size, shard=infeed.Shard(index, count))
            model = pictures.model()
            backup = BackupAndRestore(tmp_path / "shared", 1)
            callbacks = [backup] if stop is None else [backup, StopAfter(stop)]
            with pictures.LoggedDataset(loader, [], weights=True) as data:
                logged = pictures.LoggedEpochs(data.log)
                try:
                    model.fit(data, verbose=0, callbacks=[logged, *callbacks])
                except StoppedError:
                    logged.epochs.append(list(data.log))
            handed += chain.from_iterable(logged.epochs[0][:stop])
        return handed

    seen = train(before, 6, stop=2)
    assert len(seen) == 12 * before
    rest = train(after, batch_size)
    assert set(seen) | set(rest) == set(range(48))
    # Rows that fill up the last batch have weight 0: all others come once.
    assert len(seen) + len(rest) <= 48 + after


@pytest.mark.parametrize("stop", [3, 4])
def test_a_rest_that_drop_leaves_out_on_more_shards_ends_its_epoch(pictures, tmp_path, stop):
    def train(count, callbacks):
        loader = pictures.loader(20, batch_size=4, remainder="drop", shard=infeed.Shard(0, count))
        with pictures.LoggedDataset(loader, [], weights=True) as data:
            backup = BackupAndRestore(tmp_path / "shared", 1)
            with contextlib.suppress(StoppedError):
                return pictures.model().fit(
                    data, epochs=3, verbose=0, callbacks=[backup, *callbacks]
                ), data.cursor
        return None

    train(1, [StopAfter(stop)])
    history, cursor = train(3, [])  # 12 a step: 8 or 4 are left, which are dropped
    assert history.epoch == [1, 2]
    assert cursor == infeed.Cursor(3)


# Refused


class TwoOptimizers(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.second = keras.optimizers.Adam()

    def call(self, images, training=False):
        return self.inner(images, training=training)


def test_a_model_with_an_optimizer_that_would_be_lost_is_refused(pictures, tmp_path):
    model = TwoOptimizers(pictures.model())
    model.compile("sgd", "sparse_categorical_crossentropy")
    with (
        pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data,
        pytest.raises(ValueError, match=r"others \(second\), whose state would be lost"),
    ):
        model.fit(data, verbose=0, callbacks=[BackupAndRestore(tmp_path)])


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ({"seen": {3}}, r"holds \{3\}"),
        ({"best": {1: 0.5}}, "has the key 1,"),
        ({"best": {(1, 2): 0.5}}, r"has the key \(1, 2\),"),
        ({"seen": 1j}, "holds 1j"),
        ({"seen": np.complex64(1j)}, "holds np.complex64|holds 1j"),
        ({"seen": np.datetime64("2026-11-01")}, "holds .*2026-11-01"),
        ({"seen": np.timedelta64(3, "ns")}, "holds .*3"),
        ({"seen": np.bytes_(b"a")}, "holds .*b'a'"),
    ],
)
def test_a_callback_that_cannot_be_stored_is_refused_by_name_before_training(run, state, name):
    class Odd(keras.callbacks.Callback):
        def state_dict(self):
            return state

        def load_state_dict(self, state):
            raise AssertionError

        def on_train_batch_begin(self, batch, logs=None):
            raise AssertionError

    with pytest.raises(TypeError, match=name) as caught:
        run(callbacks=[Odd()])
    assert caught.value.__notes__ == ["This is in what the callback Odd 1 has to remember."]


def test_other_class_weights_of_fit_are_refused(run):
    run(stop_after=2, class_weight={0: 1.0, 1: 2.0})
    with pytest.raises(ResumeError, match="class_weight"):
        run(class_weight={0: 1.0, 1: 3.0})


def test_another_optimizer_is_refused(pictures, run, tmp_path):
    run(stop_after=2)
    model = pictures.model(optimizer="adamw", metrics=["accuracy"])
    with (
        pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data,
        pytest.raises(ResumeError, match="optimizer: saved 'Adam', now 'AdamW'"),
    ):
        model.fit(data, verbose=0, callbacks=[BackupAndRestore(tmp_path / "备份")])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": 4}, "seed: saved 3, now 4"),
        ({"batch_size": 5}, "batch_size: saved 4, now 5"),
        ({"sampling": "balanced"}, "sampling: saved 'shuffle', now 'balanced'"),
        ({"remainder": "drop"}, "remainder: saved 'keep', now 'drop'"),
        ({"n": 21}, "records: saved 22, now 21"),
        ({"recipe": infeed.Recipe(height=9, width=8)}, "height: saved 8, now 9"),
    ],
)
def test_other_data_is_refused_by_the_name_of_what_differs(run, settings, name):
    run(stop_after=2)
    with pytest.raises(ResumeError, match=rf"(?s)backup\.npz.*\b{name}"):
        run(settings=settings)


def test_another_model_is_refused_by_the_name_of_what_differs(run, pictures, tmp_path):
    run(stop_after=2)
    model = pictures.model(classes=3, optimizer="adam", metrics=["accuracy"])
    with (
        pictures.LoggedDataset(pictures.loader(**SETTINGS), []) as data,
        pytest.raises(ResumeError, match=r"another model: 'kernel' of the model was \(3, 2\)"),
    ):
        model.fit(data, verbose=0, callbacks=[BackupAndRestore(tmp_path / "备份")])


def test_other_steps_per_epoch_are_refused(run):
    arguments = {"epochs": 4, "validation_data": None}
    run(stop_after=3, steps_per_epoch=2, **arguments)
    with pytest.raises(ResumeError, match="steps_per_epoch"):
        run(steps_per_epoch=3, **arguments)


def test_a_newer_format_is_refused_by_its_version(run, tmp_path):
    run(stop_after=2)
    path = tmp_path / "备份" / "backup.npz"
    backup = read_backup(path)
    write_backup(path, backup.state | {"format_version": 99}, backup.arrays)
    with pytest.raises(ResumeError, match=r"format version 99, and this infeed .* reads 1"):
        run()


def test_a_damaged_backup_is_refused_unless_there_is_one_before_it(run, tmp_path, whole, caplog):
    expected = whole()
    run(stop_after=STEPS + 3, backup={"double_checkpoint": True})
    path = tmp_path / "备份" / "backup.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert_same_weights(run(backup={"double_checkpoint": True}), expected)
    assert "damaged; going on from the backup before it" in caplog.text
    path.write_bytes(data)
    (path.parent / "backup-previous.npz").unlink()
    with pytest.raises(ResumeError, match="its checksum is wrong"):
        run()


@pytest.mark.parametrize("save_freq", [0, -1, True, False, "batch", 2.5, None])
def test_a_frequency_that_cannot_be_is_refused(save_freq):
    with pytest.raises(ValueError, match="save_freq must be 'epoch' or a number of batches"):
        BackupAndRestore("backup", save_freq)


def test_a_folder_without_a_name_is_refused():
    with pytest.raises(ValueError, match="backup_dir must name a folder"):
        BackupAndRestore("")


def test_data_that_is_not_of_infeed_is_refused(pictures, tmp_path):
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4)
    with pytest.raises(ValueError, match=r"fit was given ndarray.*keras\.callbacks"):
        pictures.model().fit(images, labels, verbose=0, callbacks=[BackupAndRestore(tmp_path)])


def test_a_folder_that_cannot_be_is_refused_before_training(run, tmp_path):
    (tmp_path / "备份").write_text("a file")
    with pytest.raises(OSError, match="cannot hold backups"):
        run()


def test_a_disk_that_fails_later_does_not_end_the_training(run, tmp_path, caplog):
    folder = tmp_path / "备份"

    class Replace(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
                folder.write_text("a file where the folder was")

    with caplog.at_level(logging.WARNING):
        model = run(callbacks=[Replace()], epochs=1)
    assert len(model.history.epoch) == 1
    assert "No backup after step 4 of the run" in caplog.text
