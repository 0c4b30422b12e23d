"""`infeed bench`: how fast an image set is fed, and how fast it could be."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infeed.cli.bad_images import bad_image_options, bad_images_option, budget
from infeed.cli.bench_words import compared_in_words
from infeed.cli.bench_words import in_words as result_in_words
from infeed.cli.cache_options import cache_fields, cache_options, chosen_cache, in_words
from infeed.cli.image_set import open_images
from infeed.cli.output import Output, count, output_options
from infeed.cli.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from infeed.bench import FitResult
    from infeed.loader import Loader


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
@click.option("--cold", is_flag=True, help="Every other epoch from files that are not in memory.")
@click.option(
    "--fit",
    metavar="MODEL",
    help="Measure training steps too: `small`, a keras.applications name, or module:function.",
)
@click.option(
    "--compare",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Show the figures beside those of an earlier --json.",
)
@click.option("--outside", is_flag=True, help="Let a manifest name files outside its images.")
@click.option("--image-column", help="Column of image names [found by itself].")
@click.option("--label-column", help="Column of labels, for --fit [found by itself].")
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
    cold: bool,
    fit: str | None,
    compare: Path | None,
    image_column: str | None,
    label_column: str | None,
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
    """Measure how fast MANIFEST (or a folder of images) is fed, and where the time goes.

    Also measures the limits on this machine: the same images read, decoded and resized by bare
    processes, one for each thread but no more than cores, and for epochs from the cache bare
    copies in memory.
    """
    from infeed.bench import bench as measure
    from infeed.loader import Loader
    from infeed.order import Sampler
    from infeed.sample import Recipe
    from infeed.trainers.resources import peak_rss_mb

    output = Output(as_json=as_json, quiet=quiet)
    if label_column is not None and fit is None:
        raise click.UsageError("--label-column is for --fit: without it no labels are read")
    # What is wrong is said before anything takes its time.
    earlier = None if compare is None else _earlier(compare)
    if fit is not None:
        from infeed.trainers.backend import choose_backend

        choose_backend()
    kept = chosen_cache(cache, cache_limit, cache_encoding)
    bearable = budget(max_bad)
    table, storage = open_images(
        manifest,
        images,
        image_column=image_column,
        label_column=label_column,
        labelled=fit is not None,
        duplicates=duplicates,
        outside=outside,
    )

    def loader_of(sampler: Sampler, journal: Path | None) -> Loader:
        return Loader(
            table,
            Recipe(height=size, width=size, decode=decode),
            sampler,
            storage=storage,
            cache=kept,
            dtype=dtype,
            max_bad=bearable,
            bad_images=journal,
            read_timeout_seconds=read_timeout_seconds,
            threads=threads,
        )

    loader = loader_of(Sampler(batch_size=batch), bad_images)
    model = None if fit is None else _model(fit, loader)
    output.say(
        f"{count(len(table), 'image')}, {size}x{size}, {count(loader.threads, 'thread')}"
        f"{in_words(loader)}"
    )
    with ProgressLine(output) as line:

        def tell(doing: str) -> None:
            line.update(doing, 0, 0, "")

        with contextlib.closing(loader):
            result = measure(
                loader,
                epochs=epochs,
                cold=cold,
                report=lambda epoch, step, steps, rate: line.update(
                    f"Epoch {epoch + 1}/{epochs}", step, steps, f"{rate:,.0f} images/s"
                ),
                tell=tell,
            )
            cache_told = None if loader.cache_choice is None else cache_fields(loader)
        if model is not None:
            # A last batch that is shorter would be compiled in the middle of it.
            whole = Sampler(batch_size=min(batch, len(table)), remainder="drop")
            with contextlib.closing(loader_of(whole, None)) as training:
                result = replace(result, fit=_fit(training, model, tell))
    fields = asdict(result) | {
        "cache": cache_told,
        "stages": result.stages,
        "peak_rss_mb": peak_rss_mb(),
    }
    words = result_in_words(result)
    if earlier is not None:
        from infeed.bench.comparison import compare as compare_two

        comparison = compare_two(earlier, fields)
        fields["compared"] = {"file": str(compare), **asdict(comparison)}
        words += "\n\n" + compared_in_words(comparison, str(compare))
    output.result(words, fields)


def _earlier(file: Path) -> dict[str, Any]:
    """The measurement in a file that --compare names."""
    from infeed.bench.comparison import read_measurement

    return read_measurement(file)


def _model(spec: str, loader: Loader) -> Any:
    from infeed.trainers.keras.models import make_model

    return make_model(
        spec,
        input_shape=loader.recipe.shape,
        num_classes=loader.manifest.num_classes,
        learning_rate=1e-3,
    )


def _fit(loader: Loader, model: Any, tell: Callable[[str], None]) -> FitResult:
    from infeed.bench.fit_steps import fit_steps

    return fit_steps(loader, model, tell=tell)
