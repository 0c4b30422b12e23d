"""`RunData`: from the folder of a run to its loader, without Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from infeed import (
    Cache,
    ImageDataset,
    Loader,
    LocalStorage,
    Manifest,
    ManifestError,
    Recipe,
    Sampler,
)
from infeed.trainers.keras.training import train_model
from infeed.trainers.run_data import ManifestSource, RunData

# Of Keras itself, when it writes its variables to a file under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ["叶 0.png", "b/1.png", "2.PNG", "bad.png", "4.png"]
LABELS = ["rust", "NA", "rust", "NA", "007"]


@pytest.fixture
def manifest_file(tmp_path):
    """Five grey pictures, one of them bad, and their manifest with four odd columns."""
    images = tmp_path / "图"
    for position, name in enumerate(NAMES):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        png = cv2.imencode(".png", np.full((9, 9, 3), 40 * position, np.uint8))[1].tobytes()
        (images / name).write_bytes(b"" if name == "bad.png" else png)
    rows = [
        {"file": name, "other": name, "state": label, "class": "x"}
        for name, label in zip(NAMES, LABELS, strict=True)
    ]
    path = tmp_path / "清单.json"
    path.write_text(json.dumps(rows), "utf-8")
    return path


def source_of(manifest_file: Path) -> ManifestSource:
    return ManifestSource(
        str(manifest_file),
        str(manifest_file.parent / "图"),
        image_column="file",
        label_column="state",
    )


def loader_of(source: ManifestSource, **sampler) -> Loader:
    manifest = Manifest.open(
        source.path,
        images=source.images,
        image_column=source.image_column,
        label_column=source.label_column,
        class_names=["rust", "NA", "007", "never"],
    )
    return Loader(
        manifest,
        Recipe(height=4, width=6, color_mode="bgr", fit="pad"),
        Sampler(seed=9, batch_size=2, **sampler),
        storage=LocalStorage(manifest.images),
        label_mode="categorical",
    )


@pytest.fixture
def data(manifest_file):
    source = source_of(manifest_file)
    return RunData.of(loader_of(source), source, steps_per_epoch=3)


def test_what_a_run_is_fed_with_survives_its_file(data, tmp_path):
    data.write(tmp_path)
    assert RunData.read(tmp_path) == data


def test_a_loader_that_is_read_back_makes_the_same_batches(manifest_file, tmp_path):
    source = source_of(manifest_file)
    loader = loader_of(source, remainder="pad", sampling="replacement")
    RunData.of(loader, source, steps_per_epoch=3).write(tmp_path)
    again = RunData.read(tmp_path).loader()
    for epoch, number in ((0, 0), (0, 2), (5, 1)):
        one, other = loader.batch(epoch, number), again.batch(epoch, number)
        for name in ("images", "labels", "weights", "positions", "sources"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_run_of_weighted_records_is_made_again(tmp_path):
    path = tmp_path / "weighted.csv"
    path.write_text("file,label,weight\n" + "".join(f"{n}.png,c,{n + 0.5}\n" for n in range(4)))
    manifest = Manifest.open(path, weight_column="weight")
    loader = Loader(manifest, Recipe(height=4, width=6), Sampler(batch_size=4))
    source = ManifestSource(str(path), weight_column="weight")
    RunData.of(loader, source, steps_per_epoch=1).write(tmp_path)
    again = RunData.read(tmp_path).loader()
    assert again.manifest.weights.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_a_file_from_before_weights_were_told_is_read(data, tmp_path):
    data.write(tmp_path)
    file = tmp_path / "data.json"
    value = json.loads(file.read_text("utf-8"))
    del value["source"]["weight_column"]
    file.write_text(json.dumps(value), "utf-8")
    assert RunData.read(tmp_path) == data


def test_every_step_of_training_is_made_again_pixel_for_pixel(manifest_file, tmp_path):
    source = source_of(manifest_file)
    loader = loader_of(source)
    taken = []

    class Logged(ImageDataset):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            taken.append((np.array(images), np.array(labels)))
            return images, labels

    model = keras.Sequential(
        [
            keras.Input((4, 6, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile("sgd", "categorical_crossentropy")
    summary = train_model(model, Logged(loader), None, epochs=4, out=tmp_path, source=source)
    trained = taken[-summary.steps :]  # before come the looks at the shapes
    again = RunData.read(tmp_path).loader()
    for step, (images, labels) in enumerate(trained):
        batch = again.batch(*again.sampler.locate(5, step))
        assert np.array_equal(batch.images, images), step
        assert np.array_equal(batch.labels, labels), step
    assert len({images.tobytes() for images, _ in trained}) > 2


def test_it_is_read_back_without_keras(data, tmp_path):
    data.write(tmp_path)
    program = (
        "import sys; from pathlib import Path; from infeed.trainers.run_data import RunData;"
        "batch = RunData.read(Path(sys.argv[1])).loader().batch(0, 0);"
        "print(len(batch), {'keras', 'jax', 'torch', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "2 set()\n"


def test_paths_are_absolute_and_people_can_read_the_file(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ManifestSource("a.json").path == str(tmp_path / "a.json")
    data.write(tmp_path)
    text = (tmp_path / "data.json").read_text("utf-8")
    assert "清单.json" in text
    assert json.loads(text)["infeed"]


def test_a_path_that_is_no_text_survives(data, tmp_path):
    path = str(tmp_path / os.fsdecode(b"\xe4.json"))
    replace(data, source=ManifestSource(path)).write(tmp_path)
    assert RunData.read(tmp_path).source.path == path


def test_a_manifest_that_has_changed_is_refused_with_the_counts(data, manifest_file):
    rows = json.loads(manifest_file.read_text("utf-8"))
    manifest_file.write_text(json.dumps(rows[:4]), "utf-8")
    with pytest.raises(ManifestError) as caught:
        data.loader()
    assert f"{manifest_file}: the manifest has changed" in str(caught.value)
    assert "it had 5 records" in str(caught.value)
    assert "and has 4 now" in str(caught.value)


def test_a_manifest_that_cannot_be_read_any_more_says_what_the_run_had(data, manifest_file):
    text = manifest_file.read_text("utf-8")
    manifest_file.write_text(text.replace("007", "mould"), "utf-8")
    with pytest.raises(ManifestError, match="mould") as caught:
        data.loader()
    assert caught.value.__notes__ == ["The run had read 5 records from its manifest."]
    manifest_file.unlink()
    with pytest.raises(ManifestError, match="there is no such file"):
        data.loader()


def test_a_set_that_has_moved_is_found_at_its_new_place(data, manifest_file, tmp_path):
    images = (tmp_path / "图").rename(tmp_path / "moved")
    path = manifest_file.rename(tmp_path / "moved.json")
    with pytest.raises(ManifestError):
        data.loader()
    again = replace(data, source=data.source.moved(path, images)).loader()
    assert again.batch(0, 0).images.shape == (2, 4, 6, 3)


def test_a_folder_of_class_folders_moves_by_either_name(tmp_path):
    source = ManifestSource(str(tmp_path / "old"), is_folder=True)
    new = tmp_path / "new"
    assert source.moved(None, new) == source.moved(new, None)
    assert source.moved(None, new).path == str(new)
    assert source.moved(None, new).images is None


def test_a_folder_that_is_no_run_is_told_from_an_old_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"it has no data\.json"):
        RunData.read(tmp_path)
    (tmp_path / "recipe.json").write_text("{}", "utf-8")
    with pytest.raises(FileNotFoundError, match="made before infeed wrote that file"):
        RunData.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        RunData.read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: [], "is not of version 1"),
        (lambda value: value | {"data_version": 2}, "is not of version 1"),
        (lambda value: {k: v for k, v in value.items() if k != "recipe"}, "damaged.*recipe"),
        (lambda value: value | {"source": {"path": "a", "colour": 1}}, "damaged.*colour"),
        (lambda value: value | {"source": None}, "damaged"),
        (lambda value: value | {"sampler": value["sampler"] | {"order_version": 99}}, "version 99"),
    ],
)
def test_a_damaged_file_is_refused(data, tmp_path, change, said):
    data.write(tmp_path)
    path = tmp_path / "data.json"
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")
    with pytest.raises(ValueError, match=said):
        RunData.read(tmp_path)


def test_half_a_file_is_refused(data, tmp_path):
    data.write(tmp_path)
    path = tmp_path / "data.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"data\.json is damaged, it is not JSON"):
        RunData.read(tmp_path)


def test_a_run_whose_cache_keeps_jpegs_is_made_again_with_their_pixels(tmp_path):
    noise = np.random.default_rng(5).integers(0, 256, (4, 9, 9, 3), np.uint8)
    for number, image in enumerate(noise):
        path = tmp_path / "a" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    source = ManifestSource(str(tmp_path / "a"), is_folder=True)
    manifest = Manifest.open(source.path, labelled=False)
    recipe, sampler = Recipe(height=9, width=9), Sampler(batch_size=4)
    plain = Loader(manifest, recipe, sampler).batch(0, 0).images
    cache = Cache(tmp_path / "cache", encoding="jpeg")
    loader = Loader(manifest, recipe, sampler, cache=cache)
    seen = loader.batch(0, 0).images
    RunData.of(loader, source, steps_per_epoch=1).write(tmp_path)
    loader.close()
    again = RunData.read(tmp_path).loader()
    assert again.cache is None
    assert np.array_equal(again.batch(0, 0).images, seen)
    assert not np.array_equal(seen, plain)
    assert again.identity() == loader.identity()


def test_a_file_from_before_caches_is_of_a_run_without(data, tmp_path):
    data.write(tmp_path)
    path = tmp_path / "data.json"
    value = json.loads(path.read_text("utf-8"))
    assert value.pop("reencoding") is None
    path.write_text(json.dumps(value), "utf-8")
    assert RunData.read(tmp_path) == data


def test_a_reencoding_that_cannot_be_is_refused(data):
    with pytest.raises(ValueError, match=r"RunData\.reencoding must be one of"):
        replace(data, reencoding="webp")
    manifest = Manifest.from_rows(["a.png"], images="/")
    recipe, sampler = Recipe(height=4, width=4), Sampler(batch_size=1)
    with pytest.raises(ValueError, match="reencoding must be one of"):
        Loader(manifest, recipe, sampler, reencoding="webp")
    with pytest.raises(ValueError, match="JPEG has no channels for color_mode='rgba'"):
        Loader(manifest, replace(recipe, color_mode="rgba"), sampler, reencoding="jpeg")
    with pytest.raises(ValueError, match=r"without a cache.*Cache\(\.\.\., encoding='jpeg'\)"):
        Loader(manifest, recipe, sampler, cache="/tmp/never-made", reencoding="jpeg")
