"""What `import infeed` offers."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import infeed

# Keras is imported for these, so that `from infeed import *` leaves them out.
FOR_KERAS = {
    "BackupAndRestore",
    "ImageDataset",
    "InputMonitor",
    "image_dataset_from_directory",
    "image_dataset_from_manifest",
}
PUBLIC = {*infeed.__all__, *FOR_KERAS}


def test_every_public_name_can_be_had() -> None:
    for name in PUBLIC:
        assert getattr(infeed, name) is not None


def test_a_star_import_loads_no_keras() -> None:
    program = "import sys; from infeed import *; print(Loader.__name__, 'keras' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "Loader False\n"


def test_public_names_are_the_same_for_the_type_checker_and_at_run_time() -> None:
    tree = ast.parse(Path(infeed.__file__).read_text("utf-8"))
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for statement in ast.walk(node)
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed | {"__version__"} == PUBLIC
    assert list(infeed.__all__) == sorted(infeed.__all__)


def test_dir_shows_the_public_names() -> None:
    assert dir(infeed) == sorted(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'infeed' has no attribute 'Lader'"):
        _ = infeed.Lader


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    assert inspect.getdoc(getattr(infeed, name))


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_a_public_name_knows_where_it_lives(name: str) -> None:
    value = getattr(infeed, name)
    assert value.__module__.startswith("infeed."), value.__module__
