"""The house as it is drawn: a folder imports only from folders to its left."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import infeed

SOURCE = Path(infeed.__file__).parent

# Data moves from left to right. `loader` and what it joins are modules, the rest are folders.
LAYERS = (
    "version",
    "errors",
    "printable",
    "plain_file",
    "process_lock",
    "whole_file",
    "manifest",
    "order",
    "read",
    "sample",
    "cache",
    "stream",
    "identity",
    "state",
    "stages",
    "batch_work",
    "batch_stream",
    "loader",
    "cache_fill",
    "verdict",
    "report",
    "trainers",
    "demo",
    "bench",
    "cli",
)

# Each is imported in one folder only; everything else stays usable without it.
SOLE_IMPORTERS = {
    "keras": "trainers/keras",
    "jax": "trainers/jax",
    "torch": "trainers/torch",
    "tensorflow": "trainers/tensorflow",
    "click": "cli",
    "rich": "cli",
    "jinja2": "report",
}

MODULES = sorted(SOURCE.rglob("*.py"))


def imported_names(module: Path) -> set[str]:
    """Every absolute module name that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def layer_of(module: Path) -> str:
    return module.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_a_folder_imports_only_from_its_left(module: Path) -> None:
    here = layer_of(module)
    if here in ("__init__", "__main__"):
        return  # the doors: they name what is public, from everywhere
    assert here in LAYERS, f"{here} has no place in the house: see ARCHITECTURE.md"
    for name in imported_names(module):
        parts = name.split(".")
        if parts[0] != "infeed" or len(parts) == 1:
            continue
        there = parts[1]
        if there == "__version__":
            continue
        assert there in LAYERS, f"{module}: imports {name} through the front door"
        assert LAYERS.index(there) <= LAYERS.index(here), f"{module} imports {name}, to its right"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_a_framework_is_imported_in_one_folder(module: Path) -> None:
    place = module.relative_to(SOURCE).as_posix()
    for name in imported_names(module):
        home = SOLE_IMPORTERS.get(name.split(".")[0])
        assert home is None or place.startswith(home), f"{place} imports {name}; only {home} may"


def test_threads_are_started_in_stream_only_but_for_the_one_that_ends_a_command() -> None:
    for module in MODULES:
        text = module.read_text("utf-8")
        if layer_of(module) != "stream" and module != SOURCE / "cli" / "interrupt.py":
            assert "Thread(" not in text, module
            assert "ThreadPool" not in text, module


def test_importing_infeed_and_its_loader_loads_no_framework() -> None:
    program = (
        "import sys, infeed, infeed.loader;"
        "heavy = {'keras', 'jax', 'torch', 'tensorflow', 'pyarrow', 'fsspec', 'click', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "folder",
    sorted({m.parent for m in MODULES if m.parent != SOURCE}),
    ids=lambda f: str(f.relative_to(SOURCE)),
)
def test_every_folder_has_a_map_that_names_each_of_its_modules(folder: Path) -> None:
    readme = folder / "README.md"
    assert readme.is_file(), f"{folder} has no README.md"
    text = readme.read_text("utf-8")
    missing = [m.name for m in folder.glob("*.py") if m.stem != "__init__" and m.name not in text]
    assert not missing, f"{readme} does not name {missing}"
