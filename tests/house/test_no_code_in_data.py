"""Nothing that is read can run: no pickle, no eval, no YAML."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import infeed

MODULES = sorted(Path(infeed.__file__).parent.rglob("*.py"))

# They make objects of any class, or run code, out of bytes that they are given.
FORBIDDEN_MODULES = {
    "cloudpickle",
    "dill",
    "joblib",
    "jsonpickle",
    "marshal",
    "pickle",
    "ruamel",
    "shelve",
    "yaml",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {("os", "system"), ("os", "popen"), ("ast", "literal_eval")}
# An argument that must not have this value, whatever it is given to.
FORBIDDEN_ARGUMENTS = {"allow_pickle": True, "shell": True, "safe_mode": False}


def forbidden(tree: ast.AST) -> list[str]:
    """What a module does that can run code out of data."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found += [name for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            if str(node.module).split(".")[0] in FORBIDDEN_MODULES:
                found.append(str(node.module))
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                found.append(called.id)
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                pair = (called.value.id, called.attr)
                found += [".".join(pair)] * (pair in FORBIDDEN_METHODS)
            for keyword in node.keywords:
                if keyword.arg in FORBIDDEN_ARGUMENTS:
                    allowed = not FORBIDDEN_ARGUMENTS[keyword.arg]
                    is_allowed = isinstance(keyword.value, ast.Constant)
                    if not is_allowed or keyword.value.value is not allowed:
                        found.append(f"{keyword.arg}={ast.unparse(keyword.value)}")
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(MODULES[0].parent)))
def test_a_module_makes_no_code_out_of_data(module):
    assert forbidden(ast.parse(module.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import safe_load",
        "import os.path, marshal",
        "eval(text)",
        "exec(compile(text, 'a', 'exec'))",
        "os.system(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "subprocess.run(text, shell=True)",
        "keras.models.load_model(path, safe_mode=False)",
    ],
)
def test_what_would_do_so_is_seen(line):
    assert forbidden(ast.parse(line))
