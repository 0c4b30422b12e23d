"""Which back end Keras runs on, decided before Keras is imported."""

from __future__ import annotations

import os
from importlib.util import find_spec

# In this order: the lightest first. `KERAS_BACKEND` and what must be installed for it.
BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow"}


def choose_backend() -> str:
    """The name of the Keras back end to use; sets `KERAS_BACKEND` where the user has not.

    For commands, which decide for the user. A program that uses infeed as a library has
    chosen by itself, in the way that Keras documents.

    Raises:
        ImportError: Keras or every back end is missing; says what to install.
    """
    if find_spec("keras") is None:
        raise ImportError("Training needs Keras and a back end: pip install 'infeed[jax]'")
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen:
        package = BACKENDS.get(chosen)
        if package is None:
            raise ImportError(
                f"KERAS_BACKEND is {chosen!r}, and training needs one of {', '.join(BACKENDS)}: "
                "set it to one of them, or unset it"
            )
        if find_spec(package) is None:
            raise ImportError(
                f"KERAS_BACKEND is {chosen!r}, but {package} is not installed: "
                f"pip install 'infeed[{chosen}]', or unset KERAS_BACKEND"
            )
        return chosen
    for name, package in BACKENDS.items():
        if find_spec(package) is not None:
            # Without it, importing Keras tries TensorFlow, fails, and writes
            # ~/.keras/keras.json that says tensorflow.
            os.environ["KERAS_BACKEND"] = name
            return name
    raise ImportError(
        "Keras needs a back end, and none of jax, torch and tensorflow is installed: "
        "pip install 'infeed[jax]'"
    )
