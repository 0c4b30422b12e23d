"""Imports Keras, or says what is missing."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infeed.trainers.backend import choose_backend


def import_keras() -> Any:
    """The module `keras`, with its back end started.

    Raises:
        ImportError: Keras or the back end that it is set to use is not installed; names the
            cure.
    """
    if _nothing_was_chosen() and find_spec("tensorflow") is None:
        # Keras would try TensorFlow, and fail: take what there is.
        choose_backend()
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


def _nothing_was_chosen() -> bool:
    """Whether nobody has told Keras its back end: not by importing it, variable or file."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return (
        "keras" not in sys.modules
        and "KERAS_BACKEND" not in os.environ
        and not (home / "keras.json").exists()
    )


keras: Any = import_keras()
