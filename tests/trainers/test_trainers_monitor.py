"""`InputMonitor` in `fit`: what it adds to the logs, and whether its verdict is right."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from infeed import (
    BackupAndRestore,
    Cache,
    ImageDataset,
    InputMonitor,
    Loader,
    LocalStorage,
    Manifest,
    Recipe,
    Sampler,
)
from infeed.verdict import Verdict

BACKEND = keras.backend.backend()
NAMES = {"data_wait_ms", "images_per_second", "cache_hit_rate", "bad_images"}

# Of Keras itself, when it writes its variables to a file under numpy 2.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.alone,
]


class SlowStorage:
    """A folder whose files take long to read, and are looked at in no time."""

    def __init__(self, folder, seconds):
        self.local, self.seconds = LocalStorage(folder), seconds
        self.name, self.stamps = self.local.name, self.local.stamps

    def read(self, uri):
        time.sleep(self.seconds)
        return self.local.read(uri)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Makes a folder of `count` JPEGs of `side` pixels a side, old enough for a cache."""

    def files(count=24, side=64):
        folder = tmp_path_factory.mktemp("pictures")
        noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
        data = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 2))[1].tobytes()
        for number in range(count):
            path = folder / f"{number}.jpg"
            path.write_bytes(data)
            os.utime(path, (1e9, 1e9))
        return folder

    return files


def loader_of(folder, *, size=8, read_seconds=0.0, decode="fast", **options):
    names = sorted(path.name for path in folder.iterdir())
    return Loader(
        Manifest.from_rows(names, ["a", "b"] * (len(names) // 2)),
        Recipe(height=size, width=size, decode=decode),
        Sampler(batch_size=4),
        storage=SlowStorage(folder, read_seconds) if read_seconds else LocalStorage(folder),
        threads=2,
        **options,
    )


def model_of(size=8, **compiled):
    model = keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(**{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"} | compiled)
    return model


def monitored(loader, *, epochs=2, callbacks=(), data=lambda dataset: dataset, **arguments):
    """The monitor and the history of a `fit`."""
    monitor = InputMonitor(verbose=0)
    with ImageDataset(loader) as dataset:
        history = model_of(loader.recipe.height).fit(
            data(dataset),
            epochs=epochs,
            verbose=0,
            callbacks=[*callbacks, monitor],
            **arguments,
        )
    return monitor, history.history


class Logs(keras.callbacks.Callback):
    """Keeps the logs of epochs and of steps as it gets them."""

    async_safe = True

    def __init__(self):
        super().__init__()
        self.epochs, self.steps = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_every_callback_finds_the_four_floats_whatever_its_place(pictures, tmp_path, verbose):
    before, after = Logs(), Logs()
    table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="images_per_second", mode="max", save_best_only=True
    )
    monitor = InputMonitor(verbose=0)
    with ImageDataset(pictures.loader(22, bad=(3,))) as dataset:
        history = pictures.model().fit(
            dataset, epochs=2, verbose=verbose, callbacks=[before, table, best, monitor, after]
        )
    assert before.epochs == after.epochs
    for name in NAMES:
        values = [logs[name] for logs in before.epochs]
        assert all(type(value) is float for value in values)
        assert history.history[name] == values
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["images_per_second"]) for row in rows] == pytest.approx(
        history.history["images_per_second"]
    )
    assert history.history["bad_images"] == [1.0, 1.0]
    assert history.history["cache_hit_rate"] == [0.0, 0.0]
    assert (tmp_path / "best.keras").exists()
    assert all(0 <= logs["data_wait"] <= 1 for logs in before.steps)


def test_the_progress_bar_shows_the_waiting_share_and_the_line_comes_after_it(pictures, capsys):
    with ImageDataset(pictures.loader(22)) as dataset:
        pictures.model().fit(dataset, epochs=1, callbacks=[InputMonitor()])
    shown = capsys.readouterr().out
    assert "data_wait: " in shown
    last_bar, line = shown.rindex("data_wait_ms: "), shown.index("\ninfeed: ")
    assert last_bar < line
    assert shown.endswith(".\n")


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 1), (2, 3), ("auto", 0)])
def test_an_unchanged_verdict_is_said_once_unless_asked_for(files, verbose, lines):
    said = []
    monitor = InputMonitor(verbose=verbose, report=said.append)
    # So slow that nothing else can be the limit, in any epoch.
    with ImageDataset(loader_of(files(), read_seconds=0.1)) as dataset:
        model_of().fit(dataset, epochs=3, verbose=0, callbacks=[monitor])
    assert len(said) == lines
    assert all(line.startswith("infeed: Input holds training back: ") for line in said)
    assert len(monitor.verdicts) == 3


def test_slow_storage_is_found_and_threads_and_a_cache_would_help(files):
    monitor, history = monitored(loader_of(files(), read_seconds=0.1))
    verdict = monitor.verdict
    assert (verdict.bound, verdict.cause) == ("input", "storage")
    assert {"cache", "threads", "faster_storage"} <= {each.kind for each in verdict.remedies}
    assert verdict.predicted_gain > 2
    # 4 images by 2 threads, 8 rows a task: one thread makes a batch, three batches at once.
    assert history["data_wait_ms"][-1] > 20


def test_slow_decoding_is_found(files):
    monitor, _ = monitored(loader_of(files(24, 2000), decode="exact"))
    verdict = monitor.verdict
    assert (verdict.bound, verdict.cause) == ("input", "decode")
    assert {"cache", "smaller_files", "reduced_decode"} <= {each.kind for each in verdict.remedies}


def test_slow_augmentation_is_found(files):
    monitor, _ = monitored(loader_of(files(), augment=lambda image, word: time.sleep(0.1)))
    verdict = monitor.verdict
    assert (verdict.bound, verdict.cause, verdict.advice) == (
        "input",
        "augment",
        "cheaper_augment",
    )


def test_a_slow_step_is_no_waiting_for_data(files):
    slow = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(0.2))
    monitor, history = monitored(loader_of(files()), epochs=3, callbacks=[slow])
    assert (monitor.verdict.bound, monitor.verdict.advice) == ("model", "nothing")
    assert history["data_wait_ms"][-1] < 5


def test_a_cache_that_is_too_small_is_found(files, tmp_path):
    # 64 images of 12 kB; a third of them fits.
    cache = Cache(tmp_path, encoding="raw", limit=300_000)
    monitor, history = monitored(loader_of(files(64), size=64, read_seconds=0.05, cache=cache))
    assert 0 < history["cache_hit_rate"][-1] < 0.8
    verdict = monitor.verdict
    assert verdict.bound == "input"
    # More threads would help about as much: which comes first depends on the machine.
    assert "cache_limit" in {each.kind for each in verdict.remedies}


def test_a_cache_that_fills_is_what_later_epochs_will_gain_from(files, tmp_path):
    loader = loader_of(files(), read_seconds=0.1, cache=Cache(tmp_path))
    monitor, history = monitored(loader, epochs=3)
    assert "filled_cache" in {each.kind for each in monitor.verdicts[0].remedies}
    assert history["cache_hit_rate"][-1] == 1.0


def test_validation_is_not_counted(files, pictures):
    monitor = InputMonitor(verbose=0)
    validation = ImageDataset(loader_of(files(), read_seconds=0.05))
    with ImageDataset(pictures.loader(22)) as train, validation:
        pictures.model().fit(
            train, validation_data=validation, epochs=3, verbose=0, callbacks=[monitor]
        )
    # One validation takes 0.6 s, 24 images of 50 ms by 2 threads; the training next to nothing.
    assert monitor.total.seconds < 3 * 0.6
    assert monitor.total.wait_seconds < 0.6


def test_the_first_step_which_compiles_is_left_out(pictures):
    slow_first = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: time.sleep(1.0) if batch == 0 else None
    )
    monitor, _ = monitored(pictures.loader(22), epochs=1, callbacks=[slow_first])
    assert monitor.total.seconds < 1.0


class Slow(keras.layers.Layer):
    """Passes pictures on after some 30 ms of arithmetic on the device."""

    def call(self, x):
        square = keras.ops.ones((700, 700)) * keras.ops.mean(x)
        for _ in range(6):
            square = keras.ops.matmul(square, square) / 700.0
        return x + 0.0 * keras.ops.mean(square)


def test_the_speed_of_the_first_epoch_is_not_that_of_handing_steps_to_the_device(pictures):
    layers = [keras.Input((8, 8, 3)), Slow(), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(True))
    with ImageDataset(pictures.loader(48)) as dataset:
        history = model.fit(dataset, epochs=3, verbose=0, callbacks=[InputMonitor(verbose=0)])
    first, *later = history.history["images_per_second"]
    assert first < 2 * max(later)


def test_an_epoch_with_nothing_to_measure_has_no_speed(pictures):
    monitor, history = monitored(pictures.loader(4), epochs=1)
    assert math.isnan(history["data_wait_ms"][0])
    assert math.isnan(history["images_per_second"][0])
    assert history["bad_images"] == [0.0]
    assert (monitor.verdict, monitor.verdicts) == (None, [])


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps_per_epoch": 3},
        {"initial_epoch": 1},
        {"class_weight": {0: 1.0, 1: 2.0}},
        {"shuffle": False},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_of_fit_change_nothing_about_it(pictures, arguments):
    monitor, history = monitored(pictures.loader(48), epochs=3, **arguments)
    epochs = 3 - arguments.get("initial_epoch", 0)
    assert len(history["images_per_second"]) == epochs
    assert len(monitor.verdicts) <= epochs  # of all that lay ready, there is none
    assert all(speed > 0 for speed in history["images_per_second"])


def test_steps_that_take_several_batches_are_measured(pictures):
    if BACKEND == "torch":
        pytest.skip("PyTorch has steps of one batch")
    monitor = InputMonitor(verbose=0)
    with ImageDataset(pictures.loader(48)) as dataset:
        model = pictures.model(steps_per_execution=2)
        history = model.fit(dataset, epochs=2, verbose=0, callbacks=[monitor]).history
    # 12 batches an epoch; of the first epoch not the first two and the last two.
    assert monitor.total.images == 32 + 48
    assert set(history) >= NAMES


def test_one_monitor_serves_several_fits(files):
    monitor = InputMonitor(verbose=0)
    # So slow that no epoch is made before it begins, which could not be judged.
    with ImageDataset(loader_of(files(), read_seconds=0.02)) as dataset:
        for _ in range(2):
            model_of().fit(dataset, epochs=2, verbose=0, callbacks=[monitor])
    assert len(monitor.verdicts) == 4


def test_all_images_but_those_of_the_steps_that_compile_are_counted(pictures):
    monitor, _ = monitored(pictures.loader(24), epochs=3)
    # Of the first epoch not its first and not its last step.
    assert monitor.total.images == 16 + 24 + 24


def test_an_interrupted_epoch_goes_on_under_the_monitor(pictures, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                raise KeyboardInterrupt

    logs = Logs()
    for stop in ([Stop()], []):
        monitor = InputMonitor(verbose=0)
        backup = BackupAndRestore(tmp_path / "backup", save_freq=2)
        with ImageDataset(pictures.loader(40)) as dataset:
            try:
                pictures.model().fit(
                    dataset, epochs=2, verbose=0, callbacks=[backup, logs, monitor, *stop]
                )
            except KeyboardInterrupt:
                continue
    assert [set(epoch) >= NAMES for epoch in logs.epochs] == [True, True]
    assert len(monitor.verdicts) == 2


def test_other_data_is_warned_about_once_and_trained(pictures, caplog):
    monitor = InputMonitor()
    images = np.zeros((8, 8, 8, 3), np.uint8)
    history = pictures.model().fit(
        images, np.zeros(8), batch_size=4, epochs=2, verbose=0, callbacks=[monitor]
    )
    assert not NAMES & set(history.history)
    (record,) = caplog.records
    assert record.getMessage() == (
        "infeed.InputMonitor watches data sets of infeed, and fit was given ndarray: it adds "
        "nothing to the logs. If that is made of one, pass dataset=<the ImageDataset>."
    )
    assert monitor.verdict is None


def test_batches_that_come_in_another_way_are_said_not_to_be_seen(pictures, caplog):
    with ImageDataset(pictures.loader(22)) as dataset:
        monitor = InputMonitor(dataset, verbose=0)

        def batches():
            while True:
                yield from dataset

        history = pictures.model().fit(
            batches(), steps_per_epoch=3, epochs=3, verbose=0, shuffle=False, callbacks=[monitor]
        )
    assert all(math.isnan(value) for value in history.history["images_per_second"])
    assert monitor.verdict is None
    (record,) = caplog.records
    assert "saw no batch of ImageDataset(" in record.getMessage()


def test_what_a_data_set_made_is_known_and_anything_else_is_refused(pictures):
    class Made:
        infeed_dataset = ImageDataset(pictures.loader(4))

    assert InputMonitor(Made()).dataset is Made.infeed_dataset
    with pytest.raises(TypeError, match=r"dataset must be an ImageDataset, .* got str"):
        InputMonitor("train")


def test_a_changed_verdict_is_said_when_it_has_lasted_for_two_epochs():
    monitor = InputMonitor(verbose=0)
    model, waits = (
        Verdict(bound, bound if bound == "model" else "decode", (), share, 1.0, 0.5)
        for bound, share in (("model", 0.01), ("input", 0.5))
    )
    news = []
    for verdict in (model, waits, model, waits, waits, waits, model, model):
        monitor._judge(verdict)
        news.append(monitor.news)
    assert news == [model, None, None, None, waits, None, None, model]


def test_a_verbose_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="verbose must be 'auto', 0, 1 or 2, got 3"):
        InputMonitor(verbose=3)


def test_it_does_not_stop_keras_from_running_ahead_of_the_device():
    callbacks = keras.callbacks.CallbackList([InputMonitor()])
    assert callbacks._async_train == keras.callbacks.CallbackList([])._async_train


@pytest.mark.parametrize(
    ("way", "backend"), [("as_tf_dataset", "tensorflow"), ("as_torch_loader", "torch")]
)
def test_the_back_ends_own_forms_are_watched_too(files, way, backend):
    if backend != BACKEND:
        pytest.skip(backend)
    loader = loader_of(files(), read_seconds=0.1)
    monitor, history = monitored(
        loader, data=lambda dataset: getattr(dataset, way)(), shuffle=False
    )
    assert (monitor.verdict.bound, monitor.verdict.cause) == ("input", "storage")
    assert history["data_wait_ms"][-1] > 20


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorBoard writes with TensorFlow")
def test_tensorboard_shows_it(pictures, tmp_path):
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(tmp_path)
    monitored(pictures.loader(22), callbacks=[board])
    events = b"".join(path.read_bytes() for path in tmp_path.rglob("*tfevents*"))
    assert all(f"epoch_{name}".encode() in events for name in NAMES)


@pytest.mark.slow
def test_every_case_that_the_benchmark_arranges_is_judged_right():
    program = Path(__file__).parents[2] / "benchmarks" / "verdicts.py"
    done = subprocess.run(
        [sys.executable, program, "--no-advice"],
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": right\n") == 10
