"""Starting the command costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMANDS = ("demo", "train", "bench", "replay")
CACHE_COMMANDS = ("fill", "verify", "info", "clear")
HEAVY = {"numpy", "cv2", "keras", "jax", "torch", "tensorflow", "rich", "PIL", "simplejpeg"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([command, "-h"] for command in COMMANDS),
        ["cache", "-h"],
        *(["cache", command, "-h"] for command in CACHE_COMMANDS),
    ],
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from infeed.cli.main import run; code = run(sys.argv[1:]); "
        f"print(code, sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: infeed ")
    assert done.stdout.splitlines()[-1] == "0 []"


def test_every_command_has_help_with_the_options_of_all(infeed):
    for command in (*((each,) for each in COMMANDS), *(("cache", each) for each in CACHE_COMMANDS)):
        done = infeed(*command, "--help")
        assert done.returncode == 0
        for option in ("--json", "--quiet", "--debug", "--help"):
            assert option in done.stdout


def test_the_help_names_the_commands_and_the_exit_codes(infeed):
    text = infeed("-h").stdout
    for word in (*COMMANDS, "cache", "130 interrupted by Ctrl-C"):
        assert word in text
    text = infeed("cache", "-h").stdout
    for word in CACHE_COMMANDS:
        assert word in text


def test_the_version_is_that_of_the_package(infeed):
    import infeed as package

    assert infeed("--version").stdout == f"infeed, version {package.__version__}\n"
