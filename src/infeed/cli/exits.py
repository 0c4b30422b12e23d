"""The exit codes of every command."""

from typing import Final

FAILED: Final = 1
USAGE: Final = 2
DATA_PROBLEM: Final = 3
