"""Which back end Keras gets, and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from infeed.trainers.backend import BACKENDS, choose_backend

# Run first in an interpreter, it is one where the packages NAMES are not installed.
WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *where):
        return None if name.split(".")[0] in NAMES else self.finder.find_spec(name, *where)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def python(code, *, without=(), **environment):
    """What a fresh interpreter says, with `environment` on top of ours; None unsets."""
    merged = os.environ | environment
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.replace("NAMES", repr(without)) + code],
        capture_output=True,
        text=True,
        env={name: value for name, value in merged.items() if value is not None},
        check=False,
    )


def test_the_first_installed_back_end_is_chosen_where_the_user_has_not(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    first = next(name for name, package in BACKENDS.items() if find_spec(package))
    assert choose_backend() == first
    assert os.environ["KERAS_BACKEND"] == first


def test_the_users_choice_stands(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert choose_backend() == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_a_chosen_back_end_that_is_not_installed_is_refused_with_the_cure():
    said = python(
        "from infeed.trainers.backend import choose_backend; choose_backend()",
        without=("tensorflow",),
        KERAS_BACKEND="tensorflow",
    )
    assert said.stderr.splitlines()[-1] == (
        "ImportError: KERAS_BACKEND is 'tensorflow', but tensorflow is not installed: "
        "pip install 'infeed[tensorflow]', or unset KERAS_BACKEND"
    )


def test_a_back_end_that_does_not_exist_is_refused_with_those_that_do(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "JAX")
    with pytest.raises(ImportError, match=r"KERAS_BACKEND is 'JAX', .* one of jax, torch, tensorf"):
        choose_backend()


def test_handing_over_takes_an_installed_back_end_when_nobody_has_chosen(tmp_path):
    # A home without keras.json: Keras alone would take tensorflow, and fail.
    said = python(
        "import infeed; infeed.image_dataset_from_manifest; "
        "import keras; print(keras.backend.backend())",
        without=("tensorflow",),
        KERAS_BACKEND=None,
        HOME=str(tmp_path),
    )
    assert said.stdout == "jax\n", said.stderr


def test_handing_over_without_the_back_end_is_an_import_error_that_names_the_cure(tmp_path):
    said = python(
        "import infeed; infeed.image_dataset_from_manifest",
        without=("tensorflow",),
        KERAS_BACKEND="tensorflow",
        HOME=str(tmp_path),
    )
    last = said.stderr.strip().splitlines()[-1]
    assert said.returncode == 1
    assert last.startswith("ImportError: Keras could not start its back end: 'tensorflow' is not")
    assert "set the environment variable KERAS_BACKEND to jax, torch or tensorflow" in last


@pytest.mark.parametrize(
    ("module", "package"), [("torch.framework", "torch"), ("tensorflow.framework", "tensorflow")]
)
def test_a_framework_that_is_missing_is_an_import_error_that_names_the_cure(module, package):
    said = python(f"import infeed.trainers.{module}", without=(package,))
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Handing batches to")
    assert last.endswith(f"pip install 'infeed[{package}]'")


def test_importing_infeed_and_its_parts_imports_no_framework():
    said = python(
        "import infeed, sys; infeed.Loader, infeed.Manifest, infeed.Sampler, infeed.Recipe; "
        "print(sorted({'keras', 'jax', 'torch', 'tensorflow'} & set(sys.modules)))"
    )
    assert said.stdout == "[]\n"
