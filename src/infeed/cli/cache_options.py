"""The options of the commands that use a cache, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from infeed.cli.interrupt import Interrupt

if TYPE_CHECKING:
    from infeed.cache import Cache
    from infeed.loader import Loader

F = TypeVar("F", bound=Callable[..., Any])


class CacheFolder(click.Path):
    """A folder that is there or will be; an empty name would be the working folder."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, unless it is empty."""
        if value == "":
            self.fail("it must name a folder, got ''", param, ctx)
        return super().convert(value, param, ctx)


def cache_options(command: F) -> F:
    """Adds the options that say where and how fitted images are kept."""
    return click.option(
        "--cache",
        metavar="DIR",
        type=CacheFolder(),
        help="Keep fitted images in this folder, so that later epochs decode nothing.",
    )(cache_limits(command))


def cache_limits(command: F) -> F:
    """Adds the options that say how fitted images are kept, and how many."""
    for option in (
        click.option(
            "--cache-encoding",
            type=click.Choice(["auto", "raw", "jpeg"]),
            default="auto",
            show_default=True,
            help="Pixels, or JPEGs of them, several times smaller.",
        ),
        click.option(
            "--cache-limit",
            metavar="SIZE",
            help="Bytes that the cache may have, such as 20GB [as far as the disk goes].",
        ),
    ):
        command = option(command)
    return command


def chosen_cache(folder: Path | None, limit: str | None, encoding: Any) -> Cache | None:
    """The cache that the options name, or None.

    Raises:
        ValueError: a size that is none.
        NotADirectoryError: a file.
    """
    from infeed.cache import Cache

    if folder is None:
        if limit is not None or encoding != "auto":
            raise click.UsageError("--cache-limit and --cache-encoding need --cache DIR")
        return None
    kept = Cache(folder, encoding=encoding, limit=limit)
    Interrupt.current().tidies(kept.folder, depth=2)
    return kept


def in_words(loader: Loader) -> str:
    """What a loader's cache does, and why so; nothing where it has none."""
    if loader.cache is None:
        return ""
    return f"; cache in {loader.cache.path}: {loader.cache_choice}"


def cache_fields(loader: Loader) -> dict[str, Any]:
    """What JSON tells of a loader's cache."""
    assert loader.cache_choice is not None
    return asdict(loader.cache_choice) | asdict(loader.cache_counts)
