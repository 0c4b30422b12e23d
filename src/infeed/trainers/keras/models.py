"""The model to train: a small CNN, one of `keras.applications`, or the user's own function."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from infeed.trainers.keras.framework import keras

SMALL = "small"

# These put their own rescaling first and want pixels from 0 to 255.
_RESCALE_BY_THEMSELVES = ("EfficientNet", "ConvNeXt", "MobileNetV3")


def make_model(
    spec: str, *, input_shape: tuple[int, int, int], num_classes: int, learning_rate: float
) -> Any:
    """A compiled `keras.Model` from uint8 images to class probabilities.

    Args:
        spec: `small`; the name of a `keras.applications` model, trained from nothing; or
            `module:function` or `file.py:function`, called with (input_shape, num_classes)
            and returning a model, compiled or not. A model that is not compiled is compiled
            with Adam and sparse categorical cross-entropy.
        input_shape: (height, width, channels) of the uint8 images.
        num_classes: the classes to tell apart.
        learning_rate: of Adam, where the model is compiled here.

    Raises:
        ValueError: there is no such model; says what there is.
    """
    if ":" in spec:
        model = _from_function(spec, input_shape, num_classes)
    elif spec == SMALL:
        model = _small(input_shape, num_classes)
    else:
        model = _from_applications(spec, input_shape, num_classes)
    if not getattr(model, "compiled", False):
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            # Both weighted, so that a bad image that is masked in validation does not count.
            loss=keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight"),
            weighted_metrics=["accuracy"],
        )
    return model


def _small(input_shape: tuple[int, int, int], num_classes: int) -> Any:
    """A CNN of about 100,000 weights that learns on two cores."""
    layers = keras.layers
    image = keras.Input(input_shape, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    if min(input_shape[:2]) >= 128:
        # Four times as fast on a CPU: the first convolution of a large image is most of the work.
        x = layers.AveragePooling2D(2)(x)
    for filters in (16, 32, 64, 128):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, layers.Dense(num_classes, activation="softmax")(x), name=SMALL)


def _from_applications(name: str, input_shape: tuple[int, int, int], num_classes: int) -> Any:
    applications = {
        key: value
        for key, value in vars(keras.applications).items()
        if inspect.isfunction(value) and key[0].isupper()
    }
    if name not in applications:
        raise ValueError(
            f"There is no model {name!r}. Pass {SMALL!r}, module:function, or one of "
            f"keras.applications: {', '.join(sorted(applications))}"
        )
    image = keras.Input(input_shape, dtype="uint8")
    if name.startswith(_RESCALE_BY_THEMSELVES):
        x = keras.layers.Rescaling(1.0)(image)
    else:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    base = applications[name](weights=None, include_top=True, classes=num_classes, input_tensor=x)
    return keras.Model(image, base.output, name=name)


def _from_function(spec: str, input_shape: tuple[int, int, int], num_classes: int) -> Any:
    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise ValueError(f"model {spec}: expected module:function or file.py:function")
    with _naming_the_model(spec):
        module = _run_file(spec, source) if source.endswith(".py") else _imported(spec, source)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"model {spec}: {source} has no function {name!r}")
    with _naming_the_model(spec):
        model = function(input_shape, num_classes)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"model {spec}: the function must return a keras.Model, got {type(model).__name__}"
        )
    return model


def _run_file(spec: str, source: str) -> ModuleType:
    """The module in a file, under a name of its own: `json.py` is no standard library."""
    path = Path(source).resolve()
    if not path.is_file():
        raise ValueError(f"model {spec}: there is no file {path}")
    found = importlib.util.spec_from_file_location(f"infeed_model_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # Where Keras and pickle look for the classes that it defines.
    sys.modules[found.name] = module
    with _importing_from(path.parent):
        found.loader.exec_module(module)
    return module


def _imported(spec: str, name: str) -> ModuleType:
    folder = Path.cwd()
    try:
        with _importing_from(folder):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != name.split(".")[0]:
            raise
        raise ValueError(
            f"model {spec}: there is no module {name!r}, neither in {folder} nor installed"
        ) from None


@contextlib.contextmanager
def _naming_the_model(spec: str) -> Iterator[None]:
    """Says of any error in a user's code where it comes from; `--debug` shows its traceback."""
    try:
        yield
    except Exception as error:
        if str(error).startswith("model "):
            raise
        raise RuntimeError(
            f"model {spec}: {type(error).__name__}: {error}. Run again with --debug to see where."
        ) from error


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
