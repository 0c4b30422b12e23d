"""`infeed cache`: fill a cache, check it, say what is in it, and clear it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infeed.cli import cache_words as words
from infeed.cli.bad_images import bad_image_options, bad_images_option, budget
from infeed.cli.cache_options import CacheFolder, cache_limits, chosen_cache
from infeed.cli.exits import DATA_PROBLEM, FAILED
from infeed.cli.image_set import open_images
from infeed.cli.output import Output, count, output_options
from infeed.cli.progress import ProgressLine
from infeed.errors import InfeedError

if TYPE_CHECKING:
    from infeed.cache.sets import SetUse

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def cache() -> None:
    """Fill, check, describe and clear a folder of kept images.

    `infeed train --cache DIR` fills it while the first epoch runs: nothing here is needed for
    that.
    """


@cache.command()
@click.argument("manifest", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of the images [MANIFEST's folder]."
)
@click.option(
    "--cache",
    "folder",
    metavar="DIR",
    required=True,
    type=CacheFolder(),
    help="Folder of the cache; made if need be.",
)
@cache_limits
@click.option("--size", type=click.IntRange(1), default=224, show_default=True, help="Of images.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Batch size.")
@click.option("--threads", type=click.IntRange(1), help="Decoding threads [one for each core].")
@click.option("--decode", type=click.Choice(["fast", "exact"]), default="fast")
@click.option("--image-column", help="Column of image names [found by itself].")
@click.option("--duplicates", type=click.Choice(["raise", "keep", "drop"]), default="keep")
@click.option("--outside", is_flag=True, help="Let a manifest name files outside its images.")
@bad_image_options
@bad_images_option
@output_options
def fill(
    manifest: Path,
    images: Path | None,
    folder: Path,
    cache_limit: str | None,
    cache_encoding: Any,
    size: int,
    batch: int,
    threads: int | None,
    decode: Any,
    image_column: str | None,
    duplicates: Any,
    outside: bool,
    max_bad: str,
    read_timeout_seconds: float,
    bad_images: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Decode every image of MANIFEST (or a folder of images) into a cache.

    With the same --size, `infeed train` and `infeed bench` then decode nothing. May be
    interrupted: the same command goes on, and what is there is only checked. Exit code 1 if
    the cache takes no more for another reason than --cache-limit.
    """
    from infeed.cache_fill import fill_cache
    from infeed.loader import Loader
    from infeed.order import Sampler
    from infeed.sample import Recipe

    output = Output(as_json=as_json, quiet=quiet)
    kept = chosen_cache(folder, cache_limit, cache_encoding)
    bearable = budget(max_bad)
    table, storage = open_images(
        manifest, images, image_column=image_column, duplicates=duplicates, outside=outside
    )
    loader = Loader(
        table,
        Recipe(height=size, width=size, decode=decode),
        Sampler(batch_size=batch, sampling="sequential"),
        storage=storage,
        cache=kept,
        on_bad_image="mask",
        max_bad=bearable,
        bad_images=bad_images,
        read_timeout_seconds=read_timeout_seconds,
        threads=threads,
    )
    assert loader.cache is not None
    assert loader.cache_choice is not None
    output.say(
        f"{count(len(table), 'image')}, {size}x{size}, {count(loader.threads, 'thread')}, into "
        f"{loader.cache.path}: {loader.cache_choice}"
    )
    try:
        with ProgressLine(output) as line, contextlib.closing(loader):
            result = fill_cache(
                loader,
                report=lambda done, total, rate: line.update(
                    "Filling", done, total, f"{rate:,.0f} images/s"
                ),
            )
    except KeyboardInterrupt:
        output.say("The same command goes on from there.")
        raise
    from infeed.cache.space import bytes_used

    size_now = bytes_used(loader.cache.folder)
    output.result(
        words.filled(result, size_now, with_reasons=quiet),
        {
            "folder": str(loader.cache.path),
            **asdict(loader.cache_choice),
            **asdict(result),
            "bytes": size_now,
        },
    )
    return FAILED if "stop" in result.complaints else 0


@cache.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--repair/--no-repair", default=True, help="Give back what is damaged [repair].")
@output_options
def verify(folder: Path, repair: bool, as_json: bool, quiet: bool, debug: bool) -> int:
    """Compare the checksum of every image in the cache DIR.

    The entries of damaged images are given back, so that they are decoded and stored again, and
    files that died at birth are removed. Safe while the cache is used and filled. Exit code 3
    if anything was damaged, repaired or not.
    """
    from infeed.cache.check import check

    output = Output(as_json=as_json, quiet=quiet)
    with ProgressLine(output) as line, _for_people():
        reports = check(
            folder,
            repair=repair,
            report=lambda store, done, total: line.update(
                store, done // 10**6, total // 10**6, "MB"
            ),
        )
    is_right = all(report.is_right for report in reports)
    output.result(
        "\n".join(map(words.checked, reports)) or f"{folder} holds no images",
        {
            "folder": str(folder),
            "is_right": is_right,
            "images": sum(report.images for report in reports),
            "bytes": sum(report.bytes for report in reports),
            "damaged": sum(report.damaged for report in reports),
            "repaired": sum(report.repaired for report in reports),
            "stores": [asdict(report) | {"is_right": report.is_right} for report in reports],
        },
    )
    return 0 if is_right else DATA_PROBLEM


@cache.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@output_options
def info(folder: Path, as_json: bool, quiet: bool, debug: bool) -> None:
    """Say what is in the cache DIR: recipes, images, bytes, and which sets have used it."""
    from infeed.cache.contents import contents

    output = Output(as_json=as_json, quiet=quiet)
    with _for_people():
        stores = contents(folder)
    output.result(
        "\n".join(map(words.described, stores)) or f"{folder} holds no images",
        {
            "folder": str(folder),
            "images": sum(store.images for store in stores),
            "bytes": sum(store.bytes for store in stores),
            "stores": [
                asdict(store) | {"sets": [_set_fields(use) for use in store.sets]}
                for store in stores
            ],
        },
    )


@cache.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("stores", metavar="[STORE]...", nargs=-1)
@output_options
def clear(folder: Path, stores: tuple[str, ...], as_json: bool, quiet: bool, debug: bool) -> None:
    """Remove what infeed has put into DIR: all of it, or the STOREs that `info` names.

    What is not its own stays. Processes that use the cache go on.
    """
    from infeed.cache.folder import clear as clear_folder

    output = Output(as_json=as_json, quiet=quiet)
    with _for_people():
        cleared = clear_folder(folder, stores)
    output.result(
        words.removed(cleared, folder),
        {
            "folder": str(folder),
            "stores": cleared.stores,
            "segments": cleared.segments,
            "bytes": cleared.bytes,
            "left": cleared.left,
        },
    )


def _set_fields(use: SetUse) -> dict[str, Any]:
    rates = {"last_hit_rate": use.last.hit_rate, "total_hit_rate": use.total.hit_rate}
    return asdict(use) | rates


@contextlib.contextmanager
def _for_people() -> Iterator[None]:
    """Turns what only readers of files raise into an error that commands tell in words."""
    from infeed.cache.format import FormatError

    try:
        yield
    except FormatError as error:
        raise InfeedError(
            f"{error}. Use the infeed that made it, or name another folder."
        ) from error
