"""`--max-bad`: how many bad images to bear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def max_bad_option(command: F) -> F:
    """Adds the option."""
    return click.option(
        "--max-bad",
        default="0.05",
        show_default=True,
        help="Bad images to bear: a count, or a share with a decimal point.",
    )(command)


def budget(text: str) -> int | float:
    """The count, or the share, that was given.

    Raises:
        UsageError: it is neither.
    """
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise click.UsageError(
            f"--max-bad must be a count such as 10, or a share such as 0.05, got {text!r}"
        ) from None
