"""All that training changes in a model, as arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import numpy as np

from infeed.errors import ResumeError
from infeed.trainers.keras.framework import keras

METRICS: Final = "metrics"
SEED: Final = "seed"
RANDOM: Final = "random"


def captured(model: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The state of a model in training: what JSON holds of it, and its arrays.

    Weights, statistics, the states of its random generators, the optimizer's variables, and
    what the metrics have summed up in this epoch.
    """
    groups = _groups(model)
    variables = [variable for group in groups.values() for variable in group]
    description: dict[str, Any] = {name: [v.name for v in group] for name, group in groups.items()}
    # A copy: the back end may go on with the memory of a variable.
    arrays = [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]
    if keras.backend.backend() == "torch":
        states = _randomness().captured()
        description[RANDOM] = len(states)
        arrays += states
    return description, arrays


def restore(
    model: Any, description: dict[str, Any], arrays: Sequence[np.ndarray], *, metrics: bool
) -> None:
    """Puts a captured state into a model that was built in the same way.

    Args:
        model: compiled and built; its optimizer is built here.
        description: as `captured` gave it.
        arrays: as `captured` gave them.
        metrics: also what the metrics have summed up.

    Raises:
        ResumeError: the model is another one; names the first variable that differs.
    """
    optimizer = model.optimizer
    if optimizer is not None and len(optimizer.variables) < len(description["optimizer"]):
        optimizer.build(model.trainable_variables)
    groups = _groups(model)
    if not metrics:
        del groups[METRICS]
    rest = list(arrays)
    values = {}
    for group, names in description.items():
        count = names if group == RANDOM else len(names)
        values[group], rest = rest[:count], rest[count:]
    for group, variables in groups.items():
        _check(group, variables, description[group], values[group])
    for group, variables in groups.items():
        for variable, value in zip(variables, values[group], strict=True):
            variable.assign(value)
    if RANDOM in values and keras.backend.backend() == "torch":
        _randomness().restore(values[RANDOM])


def build(model: Any, batch: Sequence[np.ndarray]) -> None:
    """Makes all variables of a compiled model and its metrics, with a batch that is not trained.

    TensorFlow makes them in the first step; the other back ends before.
    """
    images, labels, weights = [*batch, None, None][:3]
    predicted = model(images, training=False)
    if labels is not None:
        model.compute_loss(images, labels, predicted, weights, training=False)
        model.compute_metrics(images, labels, predicted, weights)
    model.reset_metrics()


def has_metrics(model: Any, description: dict[str, Any]) -> bool:
    """Whether the metrics of a captured state are all built in this model."""
    return len(model.metrics_variables) == len(description[METRICS])


def _check(
    group: str, variables: Sequence[Any], names: Sequence[str], values: Sequence[np.ndarray]
) -> None:
    """Refuses values that are not of these variables."""
    cure = "Build and compile the model as before, or start anew with another backup folder."
    if len(variables) != len(names):
        raise ResumeError(
            f"The backup was made of another model: it holds {len(names)} variables of the "
            f"{group}, and this one has {len(variables)}. {cure}"
        )
    for variable, name, value in zip(variables, names, values, strict=True):
        # Names of the optimizer's hold numbers that Keras gives to layers as they are made.
        is_same = group != "model" or variable.name == name
        if tuple(variable.shape) != value.shape or not is_same:
            raise ResumeError(
                f"The backup was made of another model: {name!r} of the {group} was "
                f"{value.shape}, and here {variable.path!r} is {tuple(variable.shape)}. {cure}"
            )


def _groups(model: Any) -> dict[str, list[Any]]:
    optimizer = model.optimizer
    return {
        "model": list(model.variables),
        "optimizer": [] if optimizer is None else list(optimizer.variables),
        METRICS: list(model.metrics_variables),
        SEED: _global_seed(),
    }


def _global_seed() -> list[Any]:
    """The state of the generator that `keras.random` draws from where it is given no seed."""
    try:
        # It has no public name.
        generators = import_module("keras.src.random.seed_generator")
        return [generators.global_seed_generator().state]
    except (ImportError, AttributeError):
        return []


def _randomness() -> ModuleType:
    """PyTorch's generators, imported only where PyTorch is in use."""
    return import_module("infeed.trainers.torch.randomness")
