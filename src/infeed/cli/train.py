"""`infeed train`: a model from a manifest."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infeed.cli.bad_images import READ_TIMEOUT_SECONDS, bad_image_options, budget
from infeed.cli.cache_options import cache_options, chosen_cache, in_words
from infeed.cli.interrupt import Interrupt
from infeed.cli.output import Output, as_options, count, duration, output_options
from infeed.cli.progress import ProgressLine
from infeed.errors import InfeedError, TooManyBadImagesError
from infeed.report.printable import printable

if TYPE_CHECKING:
    from infeed.trainers.keras import ImageDataset
    from infeed.trainers.keras.progress import Progress
    from infeed.trainers.keras.training import TrainingSummary

# In the summary of a run, but not in the JSON of the command; `metrics` are on its first level.
_ABOUT_A_RUN = ("infeed", "keras", "backend", "sampler", "bad", "metrics")


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of TRAIN's images [its own folder]."
)
@click.option(
    "--val", type=click.Path(exists=True, path_type=Path), help="Manifest or folder to validate on."
)
@click.option(
    "--val-images", type=click.Path(path_type=Path), help="Folder of VAL's images [its own folder]."
)
@click.option(
    "--model",
    default="small",
    show_default=True,
    help="`small`, a keras.applications name, or module:function.",
)
@click.option("--size", type=click.IntRange(1), default=224, show_default=True, help="Of images.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Batch size.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of order and weights.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-3,
    show_default=True,
    help="To begin with; a resumed run has that of its backup.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the run [run-1, run-2, ...]."
)
@click.option(
    "--backup-every",
    type=click.IntRange(1),
    metavar="N",
    help="Back the training up after every N steps too [after every epoch].",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out where it was.")
@click.option("--image-column", help="Column of image names [found by itself].")
@click.option("--label-column", help="Column of labels [found by itself].")
@click.option(
    "--class-names",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON list of all classes, or of the names of the labels 0, 1, 2, ...",
)
@click.option(
    "--duplicates",
    type=click.Choice(["raise", "keep", "drop"]),
    default="raise",
    show_default=True,
    help="Rows that name the same image.",
)
@bad_image_options
@click.option("--check-images", is_flag=True, help="Look first whether every image is there.")
@click.option("--outside", is_flag=True, help="Let a manifest name files outside its images.")
@click.option("--threads", type=click.IntRange(1), help="Decoding threads [one for each core].")
@cache_options
@output_options
def train(
    train: Path,
    val: Path | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Train a model on TRAIN: a JSON, CSV or TSV manifest, or a folder with one folder a class.

    The run's folder gets the model (model.keras), its class names, the form of its images,
    a log of metrics for each epoch, a backup of the training, and a summary.

    After an interruption, the same command with --resume goes on with the very next step.
    """
    output = Output(as_json=as_json, quiet=quiet)
    if options["resume"]:
        if out is None:
            raise click.UsageError("--resume needs to know which run: pass its --out")
        if _is_finished(output, out, options["epochs"]):
            return
    finish_training(output, *run_training(output, train, val, out, **options))


def run_training(
    output: Output,
    train: Path,
    val: Path | None,
    out: Path | None,
    *,
    model: str,
    size: int,
    batch: int,
    epochs: int,
    seed: int,
    learning_rate: float,
    max_bad: str,
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    images: Path | None = None,
    val_images: Path | None = None,
    runs: Path = Path(),
    class_names: Path | None = None,
    backup_every: int | None = None,
    resume: bool = False,
    cache: Path | None = None,
    cache_limit: str | None = None,
    cache_encoding: Any = "auto",
    **columns: Any,
) -> tuple[TrainingSummary, Path]:
    """Trains as the command does; returns what the run did, and where it is."""
    from infeed.trainers.backend import choose_backend

    interrupt = Interrupt.current()
    backend = choose_backend()
    from infeed.trainers.keras.models import make_model
    from infeed.trainers.keras.training import seed_everything, train_model
    from infeed.trainers.run_data import ManifestSource
    from infeed.trainers.run_folder import (
        check_run_folder,
        has_backup,
        is_run,
        make_run_folder,
        read_class_names,
        remove_unfinished_run,
    )

    check_run_folder(out, resume=resume)
    is_there = out is not None and is_run(out)
    source = ManifestSource(
        str(train),
        None if images is None else str(images),
        is_folder=train.is_dir(),
        **{key: value for key, value in columns.items() if key not in ("check_images", "threads")},
    )

    common: dict[str, Any] = {
        "image_size": (size, size),
        "batch_size": batch,
        "seed": seed,
        "max_bad": budget(max_bad),
        "read_timeout_seconds": read_timeout_seconds,
        "verbose": False,
        "cache": chosen_cache(
            cache, cache_limit, _encoding_of(out if resume and cache else None, cache_encoding)
        ),
    } | columns
    names = None if class_names is None else read_class_names(class_names)
    train_set = _dataset(train, images, common | {"class_names": names})
    val_set = None
    if val is not None:
        if train_set.loader.cache is not None and train_set.loader.cache_choice is not None:
            # Of one encoding: what is validated went through what was trained on.
            encoding = train_set.loader.cache_choice.encoding
            common["cache"] = replace(train_set.loader.cache, encoding=encoding)
        val_set = _dataset(
            val,
            val_images,
            common
            | {"shuffle": False, "on_bad_image": "mask", "class_names": train_set.class_names},
        )
    seed_everything(seed)
    network = make_model(
        model,
        input_shape=train_set.loader.recipe.shape,
        num_classes=train_set.num_classes,
        learning_rate=learning_rate,
    )
    # Not before everything else is right: a mistake must not leave an empty folder.
    folder = make_run_folder(out, beside=runs, resume=resume)
    interrupt.tidies(folder, depth=1)
    try:
        if resume and has_backup(folder):
            output.say(f"Resuming the run in {folder}.")
        elif resume:
            output.say(f"There is no backup in {folder}: starting at the beginning.")
        loader = train_set.loader
        found = count(len(loader.manifest), "image")
        classes = count(train_set.num_classes, "class")
        threads = count(loader.threads, "decoding thread")
        validated = "" if val_set is None else f", validated on {len(val_set.loader.manifest)}"
        output.say(
            f"Training {network.name} ({network.count_params():,} weights) on {found} of "
            f"{classes}{validated}; {backend}, {threads}, into {folder}" + in_words(loader)
        )
        with ProgressLine(output) as line, interrupt.temporary_folder():
            summary = train_model(
                network,
                train_set,
                val_set,
                epochs=epochs,
                out=folder,
                source=source,
                backup_every=backup_every,
                report=lambda progress: _show(line, progress),
            )
    except BaseException as error:
        if not is_there:
            is_for_bad_images = isinstance(error, TooManyBadImagesError)
            remove_unfinished_run(folder, but_bad_images=is_for_bad_images)
        if isinstance(error, KeyboardInterrupt) and has_backup(folder):
            output.say(f"The same command with --out {folder} --resume goes on from there.")
        if not isinstance(error, ValueError) or isinstance(error, InfeedError):
            raise
        # All settings were checked before: this is between the model and its data.
        raise RuntimeError(f"{network.name} could not be trained: {error}") from error
    return summary, folder


def finish_training(output: Output, summary: TrainingSummary, out: Path) -> None:
    """Prints what a run did, and where it is."""
    fields = {name: value for name, value in asdict(summary).items() if name not in _ABOUT_A_RUN}
    trained = summary.steps - summary.resumed_at
    output.result(
        _in_words(summary, out),
        {**fields, **summary.metrics, "trained_now": trained, "out": str(out)},
    )


def _is_finished(output: Output, out: Path, epochs: int) -> bool:
    """Whether the run in `out` has nothing left to train; then its result is told again."""
    from infeed.trainers.run_folder import check_run_folder, finished_run, has_backup

    check_run_folder(out, resume=True)
    run = finished_run(out)
    if run is None:
        return False
    done = f"The run in {out} is finished: it has trained {count(run['epochs'], 'epoch')}."
    if run["epochs"] < epochs:
        if has_backup(out):
            return False
        raise FileNotFoundError(
            f"{done} Its backup is gone, so that it cannot be trained on. Pass another --out."
        )
    # Runs from before there were caches, or verdicts, do not name them.
    run = {"cache": None, "verdict": None, **run}
    fields = {name: value for name, value in run.items() if name not in _ABOUT_A_RUN}
    output.result(
        f"{done} Pass more --epochs to train on.",
        {**fields, **run["metrics"], "trained_now": 0, "out": str(out)},
    )
    return True


def _dataset(source: Path, images: Path | None, options: dict[str, Any]) -> ImageDataset:
    from infeed.trainers.keras import image_dataset_from_directory, image_dataset_from_manifest

    dataset: ImageDataset
    if source.is_dir():
        if images is not None:
            raise click.UsageError(
                f"{source} is a folder, so it holds its images itself: leave the images folder out"
            )
        given = [name for name in ("image_column", "label_column") if options.get(name)]
        if given:
            raise click.UsageError(
                f"{source} is a folder, which has no columns: leave out "
                + ", ".join("--" + name.replace("_", "-") for name in given)
            )
        manifest_only = ("image_column", "label_column", "duplicates", "outside", "check_images")
        dataset = image_dataset_from_directory(
            source, **{key: value for key, value in options.items() if key not in manifest_only}
        )
    else:
        dataset = image_dataset_from_manifest(source, images, **options)
    return dataset


def _encoding_of(resumed: Path | None, asked: str) -> str:
    """The encoding of a cache: `auto` keeps to that with which a run began."""
    from infeed.trainers.run_data import RunData

    if resumed is None or asked != "auto":
        return asked
    try:
        return RunData.read(resumed).reencoding or "raw"
    except (OSError, ValueError):
        return asked  # it has not begun, or what it is fed with is not known


def _show(line: ProgressLine, progress: Progress) -> None:
    speed = f"{progress.images_per_second:,.0f} images/s"
    waiting = f"waiting for data {progress.wait_fraction:.1%}"
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in progress.metrics.items())
    title = f"Epoch {progress.epoch + 1}/{progress.epochs}"
    if progress.is_epoch_end:
        line.line(f"{title}  {metrics}  {speed}, {waiting}")
        if progress.verdict is not None:
            line.line(as_options(str(progress.verdict)))
        return
    if progress.step == 0 and progress.seconds_left is None:
        line.update(title, 0, progress.steps, "compiling the model")
        return
    left = "" if progress.seconds_left is None else f"{duration(progress.seconds_left)} left  "
    line.update(title, progress.step, progress.steps, f"{speed}  {left}{waiting}  {metrics}")


def _in_words(summary: TrainingSummary, out: Path) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in summary.metrics.items())
    took = duration(summary.seconds)
    speed = f"{summary.images_per_second:,.0f} images/s"
    waiting = f"waiting for data {summary.data_wait_fraction:.1%} of the time"
    trained = f"{count(summary.epochs, 'epoch')}, {count(summary.images_seen, 'image')}"
    if summary.resumed_at:
        took += f" since step {summary.resumed_at:,}, where it was resumed"
    lines = [
        f"Trained {trained} in {took}.",
        f"Speed: {speed}, {waiting}.",
        f"At the end: {metrics}.",
    ]
    if summary.verdict is not None:
        lines.insert(2, as_options(str(summary.verdict["text"])))
    if summary.cache is not None:
        cache = summary.cache
        lines.append(
            f"Cache: {cache.hits:,} of {cache.hits + cache.misses:,} images came from it, "
            f"{cache.stored:,} were stored."
        )
    if summary.bad_images:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in summary.bad_reasons.items())
        lines.append(
            f"Bad images: {summary.bad_images:,} ({reasons}), replaced (masked in validation):"
        )
        lines += [f"  {as_options(printable(bad.message))}" for bad in summary.bad[:5]]
        if summary.bad_images > len(summary.bad[:5]):
            lines.append(f"  ... all of them in {out / '*bad_images.jsonl'}")
    if summary.recovered_images:
        lines.append(f"Read in spite of a fault: {count(summary.recovered_images, 'image')}")
    lines.append(f"Model, class names, recipe and log are in {out}")
    return "\n".join(lines)
