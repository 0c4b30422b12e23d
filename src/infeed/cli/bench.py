"""`infeed bench`: how fast an image set is fed, and how fast it could be."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infeed.cli.bad_images import bad_image_options, bad_images_option, budget
from infeed.cli.cache_options import cache_fields, cache_options, chosen_cache, in_words
from infeed.cli.image_set import open_images
from infeed.cli.output import Output, output_options
from infeed.cli.progress import ProgressLine

if TYPE_CHECKING:
    from infeed.bench import BenchResult


@click.command()
@click.argument("manifest", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of the images [MANIFEST's folder]."
)
@click.option("--size", type=click.IntRange(1), default=224, show_default=True, help="Of images.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Batch size.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Decoding threads [one for each core].")
@click.option("--dtype", type=click.Choice(["uint8", "float32"]), default="uint8")
@click.option("--decode", type=click.Choice(["fast", "exact"]), default="fast")
@click.option("--outside", is_flag=True, help="Let a manifest name files outside its images.")
@click.option("--image-column", help="Column of image names [found by itself].")
@click.option("--duplicates", type=click.Choice(["raise", "keep", "drop"]), default="keep")
@bad_image_options
@bad_images_option
@cache_options
@output_options
def bench(
    manifest: Path,
    images: Path | None,
    size: int,
    batch: int,
    epochs: int,
    threads: int | None,
    dtype: Any,
    decode: Any,
    image_column: str | None,
    duplicates: Any,
    outside: bool,
    cache: Path | None,
    cache_limit: str | None,
    cache_encoding: Any,
    max_bad: str,
    read_timeout_seconds: float,
    bad_images: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Measure how fast MANIFEST (or a folder of images) is fed, without a model.

    Also measures the decoder's own limit on this machine: the same images read, decoded and
    resized by bare processes, one for each thread but no more than cores.
    """
    from infeed.bench import bench as measure
    from infeed.loader import Loader
    from infeed.order import Sampler
    from infeed.sample import Recipe
    from infeed.trainers.resources import peak_rss_mb

    output = Output(as_json=as_json, quiet=quiet)
    kept = chosen_cache(cache, cache_limit, cache_encoding)
    bearable = budget(max_bad)
    table, storage = open_images(
        manifest, images, image_column=image_column, duplicates=duplicates, outside=outside
    )
    loader = Loader(
        table,
        Recipe(height=size, width=size, decode=decode),
        Sampler(batch_size=batch),
        storage=storage,
        cache=kept,
        dtype=dtype,
        max_bad=bearable,
        bad_images=bad_images,
        read_timeout_seconds=read_timeout_seconds,
        threads=threads,
    )
    output.say(f"{len(table):,} images, {size}x{size}, {loader.threads} threads{in_words(loader)}")
    with ProgressLine(output) as line, contextlib.closing(loader):
        result = measure(
            loader,
            epochs=epochs,
            report=lambda epoch, step, steps, rate: line.update(
                f"Epoch {epoch + 1}/{epochs}", step, steps, f"{rate:,.0f} images/s"
            ),
        )
    fields = asdict(result) | {
        "cache": None if loader.cache_choice is None else cache_fields(loader),
        "stages": {
            stage: sum(epoch.stages[stage] for epoch in result.epochs)
            for stage in result.epochs[0].stages
        },
        "peak_rss_mb": peak_rss_mb(),
    }
    output.result(_in_words(result), fields)


def _in_words(result: BenchResult) -> str:
    lines = [f"{'epoch':>5}  {'images':>8}  {'seconds':>8}  {'images/s':>9}  source"]
    lines += [
        f"{epoch.epoch + 1:>5}  {epoch.images:>8,}  {epoch.seconds:>8.2f}  "
        f"{epoch.images_per_second:>9,.0f}  {epoch.source}"
        for epoch in result.epochs
    ]
    images = sum(epoch.images for epoch in result.epochs)
    stages = {
        stage: sum(epoch.stages[stage] for epoch in result.epochs)
        for stage in result.epochs[0].stages
    }
    spent = ", ".join(f"{name} {1e6 * s / images:,.0f}" for name, s in stages.items())
    lines.append(f"Thread microseconds an image: {spent}")
    lines.append(
        f"The decoder alone, {result.limit_processes} processes: "
        f"{result.limit_images_per_second:,.0f} images/s. "
        + (
            "No epoch was decoded, so that there is no ratio."
            if result.ratio is None
            else f"Ratio: {result.ratio:.2f}"
        )
    )
    if result.cached_images_per_second is not None:
        times = result.cached_images_per_second / result.limit_images_per_second
        lines.append(
            f"From the cache: {result.cached_images_per_second:,.0f} images/s, {times:.1f} times "
            "what the decoder can"
        )
    if result.bad_images:
        lines.append(f"{result.bad_images} bad images were replaced")
    return "\n".join(lines)
