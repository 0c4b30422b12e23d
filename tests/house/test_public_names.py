"""What `import infeed` offers."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import infeed


def test_every_public_name_can_be_had() -> None:
    for name in infeed.__all__:
        assert getattr(infeed, name) is not None


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
    assert typed | {"__version__"} == set(infeed.__all__)
    assert list(infeed.__all__) == sorted(infeed.__all__)


def test_dir_shows_the_public_names() -> None:
    assert dir(infeed) == sorted(infeed.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'infeed' has no attribute 'Lader'"):
        _ = infeed.Lader


@pytest.mark.parametrize("name", sorted(set(infeed.__all__) - {"__version__"}))
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    assert inspect.getdoc(getattr(infeed, name))


@pytest.mark.parametrize("name", sorted(set(infeed.__all__) - {"__version__"}))
def test_a_public_name_knows_where_it_lives(name: str) -> None:
    value = getattr(infeed, name)
    assert value.__module__.startswith("infeed."), value.__module__
