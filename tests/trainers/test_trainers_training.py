"""A training run and the folder that it leaves."""

from __future__ import annotations

import csv
import json
import math
import os

import keras
import numpy as np
import pytest

from infeed import ImageDataset, TooManyBadImagesError
from infeed.trainers.keras.monitor import EPOCH_LOGS
from infeed.trainers.keras.training import seed_everything, train_model
from infeed.trainers.run_folder import (
    BAD_IMAGES_FILES,
    RUN_FILES,
    locked,
    make_run_folder,
    remove_unfinished_run,
)

# Of Keras itself, when it writes its variables to a file under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    """A run of three epochs with one bad image in each set: (folder, model, summary, told)."""
    pictures = request.getfixturevalue("pictures")
    out = tmp_path_factory.mktemp("运行")
    train = ImageDataset(pictures.loader(22, bad=(13,)))
    validation = ImageDataset(
        pictures.loader(9, bad=(4,), sampling="sequential", on_bad_image="mask", max_bad=1),
        weights=True,
    )
    model = pictures.model(weighted_metrics=["accuracy"])
    told = []
    summary = train_model(model, train, validation, epochs=3, out=out, report=told.append)
    return out, model, summary, told


def test_the_folder_holds_exactly_the_files_of_a_run(run):
    out, *_ = run
    # What was made in memory cannot be made again from a file.
    expected = {*RUN_FILES, *BAD_IMAGES_FILES, "backup"} - {"data.json"}
    assert {path.name for path in out.iterdir()} == expected


def test_the_model_loads_again_and_predicts_the_same(run):
    out, model, *_ = run
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    again = keras.models.load_model(out / "model.keras")
    assert np.array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


def test_class_names_and_recipe_travel_with_the_model(run):
    out, *_ = run
    assert json.loads((out / "class_names.json").read_text("utf-8")) == ["class 0", "class 1"]
    recipe = json.loads((out / "recipe.json").read_text("utf-8"))
    assert (recipe["height"], recipe["width"], recipe["color_mode"]) == (8, 8, "rgb")


def test_the_log_has_a_row_for_each_epoch_with_every_metric(run):
    out, _, summary, _ = run
    with (out / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    last = {name: float(rows[-1][name]) for name in summary.metrics}
    assert last == pytest.approx(summary.metrics, rel=1e-6)
    assert set(summary.metrics) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    # What the monitor adds is in the log, and no metric of the model.
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert [(row["cache_hit_rate"], row["bad_images"]) for row in rows] == [("0.0", "1.0")] * 3
    assert all(float(row["data_wait_ms"]) >= 0 for row in rows)


def test_the_verdict_is_in_the_summary_and_is_told_when_it_is_new(run):
    out, _, summary, told = run
    assert summary.verdict["bound"] in ("input", "model")
    assert json.loads((out / "run.json").read_text("utf-8"))["verdict"] == summary.verdict
    ends = [each.verdict for each in told if each.is_epoch_end]
    assert ends[0] is not None
    # So short an epoch may be judged otherwise than the one before; told is what has lasted.
    assert {verdict.bound for verdict in ends if verdict is not None} <= {"input", "model"}
    assert not any(each.verdict for each in told if not each.is_epoch_end)


def test_the_summary_counts_what_was_trained(run):
    _, _, summary, _ = run
    assert (summary.epochs, summary.steps, summary.images_seen) == (3, 18, 66)
    assert summary.images_per_second > 0
    assert 0 <= summary.data_wait_fraction <= 1
    assert summary.peak_rss_mb > 50
    assert summary.bad_images == 2
    assert [bad.uri for bad in summary.bad] == ["叶 13.png", "叶 4.png"]


def test_run_json_is_the_summary_with_the_order_and_the_versions(run):
    out, _, summary, _ = run
    written = json.loads((out / "run.json").read_text("utf-8"))
    assert written["images_seen"] == summary.images_seen
    assert written["metrics"] == pytest.approx(summary.metrics)
    assert written["sampler"]["seed"] == 3
    assert written["keras"] == keras.__version__
    assert [bad["uri"] for bad in written["bad"]] == ["叶 13.png", "叶 4.png"]


def test_the_report_is_told_the_end_of_every_epoch(run):
    *_, told = run
    ends = [progress for progress in told if progress.is_epoch_end]
    assert [(end.epoch, end.epochs, end.step, end.steps) for end in ends] == [
        (0, 3, 6, 6),
        (1, 3, 6, 6),
        (2, 3, 6, 6),
    ]
    assert all("val_accuracy" in end.metrics for end in ends)
    assert ends[-1].seconds_left == 0


def test_a_run_that_is_stopped_keeps_the_last_whole_epoch_and_nothing_partial(pictures, tmp_path):
    def stop(progress):
        if progress.epoch == 1:
            raise KeyboardInterrupt

    train = ImageDataset(pictures.loader(22))
    with pytest.raises(KeyboardInterrupt):
        train_model(pictures.model(), train, None, epochs=3, out=tmp_path, report=stop)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"model.keras", "class_names.json", "recipe.json", "log.csv", "backup"}
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["backup.npz"]
    keras.models.load_model(tmp_path / "model.keras")


class Unsavable(keras.layers.Layer):
    """Fails when half of the model's file is written."""

    def build(self, shape):
        self.add_weight(shape=(1,), trainable=False)

    def call(self, x):
        return x

    def save_own_variables(self, store):
        raise KeyboardInterrupt


def test_a_model_that_is_saved_only_by_half_leaves_no_file(pictures, tmp_path):
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = Unsavable()(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0)(image)))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(KeyboardInterrupt):
        train_model(model, ImageDataset(pictures.loader(8)), None, epochs=1, out=tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"class_names.json", "recipe.json", "log.csv"}


def test_too_many_bad_images_stop_the_run_and_end_its_threads(pictures, tmp_path):
    train = ImageDataset(pictures.loader(22, bad=(1, 2, 3), max_bad=0))
    with pytest.raises(TooManyBadImagesError):
        train_model(pictures.model(), train, None, epochs=1, out=tmp_path)
    assert not list(tmp_path.glob("partial-*"))


def test_a_run_that_was_stopped_goes_on_and_is_one_run(pictures, tmp_path):
    def stop(progress):
        if progress.epoch == 1 and progress.is_epoch_end:
            raise KeyboardInterrupt

    ends = {}
    for name, reports in (("whole", [None]), ("stopped", [stop, None])):
        out = tmp_path / name
        out.mkdir()
        for report in reports:
            seed_everything(1)
            model, told = pictures.model(), []
            arguments = {"epochs": 4, "out": out, "backup_every": 2}
            try:
                ends[name] = train_model(
                    model,
                    ImageDataset(pictures.loader(22)),
                    None,
                    report=report or told.append,
                    **arguments,
                )
            except KeyboardInterrupt:
                assert report is stop
        with (out / "log.csv").open(encoding="utf-8", newline="") as file:
            # But for what was measured: no two runs take the same time.
            rows = [
                {name: value for name, value in row.items() if name not in EPOCH_LOGS}
                for row in csv.DictReader(file)
            ]
        ends[name, "log"] = rows
    assert ends["stopped", "log"] == ends["whole", "log"]
    whole, stopped = ends["whole"], ends["stopped"]
    assert stopped.resumed_at == 6 + 4
    for name in ("epochs", "steps", "images_seen", "metrics"):
        assert getattr(stopped, name) == getattr(whole, name)
    # What it was told of the epoch that it went on with: steps of the whole of it.
    assert (told[0].epoch, told[0].step, told[0].steps) == (1, 4, 6)
    assert all(0 <= each.step <= each.steps for each in told)


def test_a_loss_that_is_not_a_number_is_null_in_run_json(pictures, tmp_path):
    def not_a_number(truth, predicted):
        return predicted[:, 0] * math.nan

    model = pictures.model(loss=not_a_number)
    summary = train_model(model, ImageDataset(pictures.loader(8)), None, epochs=1, out=tmp_path)
    assert math.isnan(summary.metrics["loss"])
    text = (tmp_path / "run.json").read_text("utf-8")
    assert "NaN" not in text
    assert json.loads(text)["metrics"] == {"loss": None}


def test_the_same_seed_begins_with_the_same_weights(pictures):
    begins = []
    for _ in range(2):
        seed_everything(2**40 + 7)
        begins.append(pictures.weights_of(pictures.model())[0])
    assert np.array_equal(*begins)


def test_a_run_folder_is_made_with_its_parents(tmp_path):
    out = make_run_folder(tmp_path / "a" / "运行")
    assert out.is_dir()


def test_a_run_that_is_refused_leaves_the_list_of_the_one_under_way(pictures, tmp_path):
    (tmp_path / "bad_images.jsonl").write_text('{"position": 1}\n', "utf-8")
    train = ImageDataset(pictures.loader(8))
    with locked(tmp_path), pytest.raises(BlockingIOError, match="is training into"):
        train_model(pictures.model(), train, None, epochs=1, out=tmp_path)
    assert (tmp_path / "bad_images.jsonl").read_text("utf-8") == '{"position": 1}\n'


def test_the_folder_of_a_run_under_way_is_not_tidied_up(tmp_path):
    files = {*RUN_FILES, *BAD_IMAGES_FILES, "partial-1-model.keras"} - {"model.keras"}
    for name in files:
        (tmp_path / name).touch()
    with locked(tmp_path):
        remove_unfinished_run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == files
    remove_unfinished_run(tmp_path)
    assert not tmp_path.exists()


def test_an_empty_folder_may_be_the_run_folder_and_a_full_one_not(tmp_path):
    assert make_run_folder(tmp_path) == tmp_path
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError) as caught:
        make_run_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds something already. Pass another --out, or remove it first."
    )
    assert os.listdir(tmp_path) == ["mine.txt"]  # noqa: PTH208


def test_runs_without_a_name_are_numbered_from_the_first_free_number(tmp_path):
    (tmp_path / "run-2").mkdir()
    made = [make_run_folder(None, beside=tmp_path).name for _ in range(3)]
    assert made == ["run-1", "run-3", "run-4"]
