"""Imports Keras, or says what is missing."""

from __future__ import annotations

import os
from typing import Any


def import_keras() -> Any:
    """The module `keras`, with its back end started.

    Raises:
        ImportError: Keras or the back end that it is set to use is not installed; names the
            cure.
    """
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise ImportError(
                "Handing batches to Keras needs Keras and a back end: pip install 'infeed[jax]'"
            ) from None
        backend = os.environ.get("KERAS_BACKEND")
        raise ImportError(
            f"Keras could not start its back end: {error.name!r} is not installed "
            f"(KERAS_BACKEND is {'not set' if backend is None else repr(backend)}). Install it, or "
            "set the environment variable KERAS_BACKEND to jax, torch or tensorflow before the "
            "program starts."
        ) from error
    if not hasattr(keras, "utils") or not hasattr(keras.utils, "PyDataset"):
        raise ImportError(
            f"infeed needs Keras 3.10 or later, and this is keras {keras.__version__}: "
            "pip install 'infeed[jax]'"
        )
    return keras


keras: Any = import_keras()
