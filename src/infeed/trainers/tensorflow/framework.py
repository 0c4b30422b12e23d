"""Imports TensorFlow, or says what is missing."""

from __future__ import annotations

from typing import Any


def import_tensorflow() -> Any:
    """The module `tensorflow`.

    Raises:
        ImportError: TensorFlow is not installed; names the cure.
    """
    try:
        import tensorflow
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ImportError(
            "Handing batches to TensorFlow needs TensorFlow: pip install 'infeed[tensorflow]'"
        ) from None
    return tensorflow


tf: Any = import_tensorflow()
