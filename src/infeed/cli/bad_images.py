"""The options that say what becomes of bad images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# The loader's own, which would have to be imported for `--help`.
READ_TIMEOUT_SECONDS = 60.0


def bad_image_options(command: F) -> F:
    """Adds `--max-bad` and `--read-timeout`."""
    for option in (
        click.option(
            "--read-timeout",
            "read_timeout_seconds",
            metavar="SECONDS",
            type=click.FloatRange(0, min_open=True),
            default=READ_TIMEOUT_SECONDS,
            show_default=True,
            help="A file that takes longer to read is a bad image.",
        ),
        click.option(
            "--max-bad",
            default="0.05",
            show_default=True,
            help="Bad images to bear: a count, or a share with a decimal point.",
        ),
    ):
        command = option(command)
    return command


def bad_images_option(command: F) -> F:
    """Adds `--bad-images`, for commands without a folder of their own to list them in."""
    return click.option(
        "--bad-images",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Add a line of JSON to this file for each bad image.",
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
