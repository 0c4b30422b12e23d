"""The tutorial's generator, which is a program and not a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial"


@pytest.fixture(scope="session")
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial_generator", TUTORIAL / "generator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
