"""The model that `--model` names."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

from infeed.trainers.keras.models import make_model

SOURCE = """
import keras

def tiny(input_shape, num_classes):
    image = keras.Input(input_shape, dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(num_classes, activation="softmax")(x), name="NAME")

def compiled(input_shape, num_classes):
    model = tiny(input_shape, num_classes)
    model.compile(optimizer="sgd", loss="mse")
    return model

def nothing(input_shape, num_classes):
    return None

number = 3
"""


@pytest.fixture
def source(tmp_path):
    """A file with functions that make models; `mark` becomes the model's name."""

    def write(name, mark="mine"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE.replace("NAME", mark), "utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def _modules_are_forgotten():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("infeed_model_", "infeed_test_")):
            del sys.modules[name]


def make(spec, *, size=16, classes=5):
    return make_model(spec, input_shape=(size, size, 3), num_classes=classes, learning_rate=0.01)


@pytest.mark.parametrize(("spec", "size"), [("small", 16), ("small", 128)])
def test_a_model_turns_uint8_images_into_probabilities(spec, size):
    model = make(spec, size=size)
    assert model.compiled
    assert model.inputs[0].dtype == "uint8"
    predicted = model.predict(np.full((2, size, size, 3), 200, np.uint8), verbose=0)
    assert predicted.shape == (2, 5)
    assert predicted.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (predicted >= 0).all()


def test_an_application_has_its_own_weights_and_takes_uint8_images_of_any_size():
    model = make("MobileNetV2", size=32)
    assert model.compiled
    assert (model.name, model.inputs[0].dtype) == ("MobileNetV2", "uint8")
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 5))


def test_a_file_gives_its_model_compiled_with_the_learning_rate(source):
    model = make(f"{source('my-model.v2.py')}:tiny")
    assert model.name == "mine"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)


def test_a_model_that_is_compiled_already_stays_as_it_is(source):
    assert make(f"{source('own.py')}:compiled").loss == "mse"


def test_a_file_named_like_a_module_of_the_standard_library_is_the_users(source):
    assert make(f"{source('json.py')}:tiny").name == "mine"


def test_files_of_the_same_name_in_two_folders_are_two_files(source):
    one, other = source("a/model.py", "one"), source("b/model.py", "other")
    assert [make(f"{path}:tiny").name for path in (one, other)] == ["one", "other"]


def test_a_file_may_import_its_neighbour_and_leaves_the_path_as_it_was(source, tmp_path):
    source("infeed_test_neighbour.py")
    (tmp_path / "main.py").write_text("from infeed_test_neighbour import tiny\n", "utf-8")
    before = list(sys.path)
    assert make(f"{tmp_path / 'main.py'}:tiny").name == "mine"
    assert sys.path == before


def test_a_module_is_found_in_the_working_folder(source, monkeypatch, tmp_path):
    source("infeed_test_here.py")
    monkeypatch.chdir(tmp_path)
    assert make("infeed_test_here:tiny").name == "mine"


def test_an_unknown_name_is_refused_with_the_names_that_there_are():
    with pytest.raises(
        ValueError, match=r"There is no model 'mobilenet'. Pass 'small', "
    ) as caught:
        make("mobilenet")
    assert "MobileNetV2" in str(caught.value)


def test_a_missing_file_module_or_function_is_refused_by_name(source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = source("there.py")
    for spec, text in {
        "gone.py:tiny": f"model gone.py:tiny: there is no file {tmp_path / 'gone.py'}",
        "infeed_test_gone:tiny": (
            "model infeed_test_gone:tiny: there is no module 'infeed_test_gone', "
            f"neither in {tmp_path} nor installed"
        ),
        f"{path}:huge": f"model {path}:huge: {path} has no function 'huge'",
        f"{path}:number": f"model {path}:number: {path} has no function 'number'",
        f"{path}:nothing": (
            f"model {path}:nothing: the function must return a keras.Model, got NoneType"
        ),
    }.items():
        with pytest.raises(ValueError) as caught:
            make(spec)
        assert str(caught.value) == text


def test_a_module_that_lacks_one_of_its_own_imports_says_which(tmp_path, monkeypatch):
    (tmp_path / "infeed_test_broken.py").write_text("import infeed_test_absent\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    for spec in ("infeed_test_broken:tiny", "infeed_test_broken.py:tiny"):
        with pytest.raises(RuntimeError, match="No module named 'infeed_test_absent'"):
            make(spec)
