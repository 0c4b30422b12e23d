"""`infeed demo`: the whole job on a set of drawn leaves."""

from __future__ import annotations

from pathlib import Path

import click

from infeed.cli.output import Output, output_options
from infeed.cli.train import finish_training, run_training


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("infeed-demo"),
    show_default=True,
    help="Where the pictures and the run go.",
)
@click.option("--train", "train_images", type=click.IntRange(20), default=900, show_default=True)
@click.option("--val", "val_images", type=click.IntRange(10), default=180, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True)
@output_options
def demo(
    folder: Path,
    train_images: int,
    val_images: int,
    epochs: int,
    seed: int,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Draw leaves with six states of health, and train a model that tells them apart.

    The set is made as real ones are: a manifest in JSON, classes of very different size,
    Chinese names, .jpg and .JPG, one picture twice, and one that is cut off.
    """
    from infeed.demo import draw_set

    output = Output(as_json=as_json, quiet=quiet)
    output.say(f"Drawing {train_images} + {val_images} leaves into {folder / 'leaves'} ...")
    leaves = draw_set(folder / "leaves", train=train_images, validation=val_images, seed=seed)
    output.say(
        f"{len(leaves.classes)} classes: {', '.join(leaves.classes)}. One picture is there twice "
        f"({leaves.duplicate[1]}), and one is cut off ({leaves.truncated}): watch what happens."
    )
    summary, out = run_training(
        output,
        leaves.train_manifest,
        leaves.validation_manifest,
        None,
        images=leaves.train_images,
        val_images=leaves.validation_images,
        class_names=leaves.class_names_file,
        model="small",
        size=64,
        batch=32,
        epochs=epochs,
        seed=seed,
        learning_rate=1e-3,
        max_bad="0.05",
        runs=folder,
    )
    finish_training(output, summary, out)
