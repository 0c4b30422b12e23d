"""What other callbacks remember from epoch to epoch, as JSON and arrays, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from infeed.trainers.keras.framework import keras

# What Keras' own callbacks decide by, and forget when a `fit` begins.
_REMEMBERED: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch", "best_weights"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
    keras.callbacks.History: ("epoch", "history"),
}


def captured(callbacks: Iterable[Any], arrays: list[np.ndarray]) -> dict[str, Any]:
    """What the callbacks remember, by name; arrays in it are appended to `arrays`.

    A callback of the user's own takes part if it has `state_dict()`, which returns what JSON
    and arrays hold, and `load_state_dict(state)`.

    Raises:
        TypeError: one holds something else; names callback and value.
    """
    packed = {}
    for name, callback in _named(callbacks):
        try:
            packed[name] = _pack(_state_of(callback), arrays)
        except TypeError as error:
            error.add_note(f"This is in what the callback {name} has to remember.")
            raise
    return packed


def restore(callbacks: Iterable[Any], state: dict[str, Any], arrays: list[np.ndarray]) -> None:
    """Gives the callbacks back what they remembered. Callbacks that are new keep theirs."""
    for name, callback in _named(callbacks):
        if name not in state:
            continue
        remembered = _unpack(state[name], arrays)
        if _takes_part(callback):
            callback.load_state_dict(remembered)
            continue
        for attribute, value in remembered.items():
            setattr(callback, attribute, value)


def _named(callbacks: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Those that remember something, under names that are the same in the next process."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        if _takes_part(callback) or isinstance(callback, tuple(_REMEMBERED)):
            kind = type(callback).__name__
            seen[kind] += 1
            yield f"{kind} {seen[kind]}", callback


def _takes_part(callback: Any) -> bool:
    return hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict")


def _state_of(callback: Any) -> Any:
    if _takes_part(callback):
        return callback.state_dict()
    attributes = next(names for kind, names in _REMEMBERED.items() if isinstance(callback, kind))
    # The underscored ones are not promised: another version of Keras may lack them.
    return {name: getattr(callback, name) for name in attributes if hasattr(callback, name)}


def _pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """JSON for a value; arrays in it become {"array": their number}."""
    # Not dates: `item` makes a plain number of one in nanoseconds.
    is_scalar = isinstance(value, np.generic)
    plain = value.item() if is_scalar and value.dtype.kind not in "mM" else value
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):  # JSON would make a text of 1, and give that back
                raise TypeError(
                    f"state_dict() of a callback has the key {name!r:.100}, and a backup keeps "
                    "dicts whose keys are texts"
                )
        return {"dict": {name: _pack(each, arrays) for name, each in value.items()}}
    if isinstance(value, list | tuple):
        return [_pack(each, arrays) for each in value]
    array = None
    if hasattr(value, "__array__") and not is_scalar:
        array = np.array(keras.ops.convert_to_numpy(value))
    if array is None or array.dtype.kind in "OSU":
        raise TypeError(
            f"state_dict() of a callback holds {value!r:.100}, and a backup keeps real numbers, "
            "texts, arrays of numbers, and lists and dicts of them"
        )
    arrays.append(array)
    return {"array": len(arrays) - 1}


def _unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {name: _unpack(each, arrays) for name, each in value["dict"].items()}
    if isinstance(value, list):
        return [_unpack(each, arrays) for each in value]
    return value
