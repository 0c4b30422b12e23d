"""The benchmarks, which are programs and not a package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def peers_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of `benchmarks/peers` by its name."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module
