"""`infeed replay`: the batch of a step of a run, made again."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infeed.cli.interrupt import Interrupt
from infeed.cli.output import Output, count, output_options
from infeed.errors import ManifestError, TooManyBadImagesError
from infeed.report.printable import printable

if TYPE_CHECKING:
    from infeed.report.batch_row import BatchRow
    from infeed.trainers.run_data import RunData


# Far beyond any run, and far below where the arithmetic of the order ends.
LARGEST = 10**12

LONGEST_CELL = 255


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--step",
    type=click.IntRange(1, LARGEST),
    help="Step of the whole run, from 1: model.optimizer.iterations after it.",
)
@click.option(
    "--epoch", type=click.IntRange(1, LARGEST), help="With --batch: as Keras prints it, from 1."
)
@click.option("--batch", type=click.IntRange(1), help="With --epoch: as Keras prints it, from 1.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the batch into this HTML page.",
)
@click.option("--manifest", type=click.Path(path_type=Path), help="Where the manifest is now.")
@click.option("--images", type=click.Path(path_type=Path), help="Where the images are now.")
@output_options
def replay(
    run: Path,
    step: int | None,
    epoch: int | None,
    batch: int | None,
    out: Path | None,
    manifest: Path | None,
    images: Path | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Make the batch of one step of RUN again, and say what was in it.

    RUN is the folder that `infeed train` wrote. Name the step by --step, counted over the
    whole run, or by --epoch and --batch.

    The order of a run is arithmetic: the files, their places and their labels are those of
    that step, also of one that was not reached. Their pixels are read again now. In JSON, epoch
    and number are those that Loader.batch takes, from 0.

    \b
    infeed replay run --step 4713                       the 4713th step of the run
    infeed replay run --epoch 3 --batch 1041            the same, where epochs have 1836
    infeed replay run --step 4713 -o sheet.html         and a page with the pictures
    """
    output = Output(as_json=as_json, quiet=quiet)
    if out is not None:
        _check_page(out)
    from infeed.report.batch_row import batch_rows
    from infeed.trainers.run_data import RunData

    data = RunData.read(run)
    step = _step(data, step, epoch, batch)
    try:
        loader = replace(data, source=data.source.moved(manifest, images)).loader()
    except ManifestError as error:
        error.add_note("Where manifest or images are now can be told by --manifest and --images.")
        raise
    # What is bad stands in the table; without a handler Python would print it as well.
    logging.getLogger("infeed").addHandler(logging.NullHandler())
    place = loader.sampler.locate(len(loader.manifest), step - 1)
    try:
        made = loader.batch(*place)
    except TooManyBadImagesError as error:
        raise TooManyBadImagesError(
            f"{str(error).splitlines()[0]} Images were looked for in {loader.manifest.images!r}: "
            "if they are elsewhere now, pass --images DIR."
        ) from error
    rows = batch_rows(loader, made)
    keras_epoch, keras_batch = (1 + number for number in divmod(step - 1, data.steps_per_epoch))
    trained = _trained_steps(run)
    title = (
        f"Step {step:,}: epoch {keras_epoch:,}, batch {keras_batch:,} of {data.steps_per_epoch:,}"
    )
    facts = {
        "run": str(run.absolute()),
        "seed": str(data.sampler.seed),
        "batch": f"{count(len(rows), 'row')} of {count(len(loader.manifest), 'record')}",
        "order": f"{data.sampler.sampling}, remainder {data.sampler.remainder}",
        "picture": _recipe_in_words(data),
        "in Python": f"loader.batch(epoch={place[0]}, number={place[1]})",
    }
    if trained is not None and step > trained:
        facts["not trained"] = f"the run ended after {count(trained, 'step')}"
    if out is not None:
        from infeed.report.contact_sheet import contact_sheet
        from infeed.whole_file import write_text

        page = contact_sheet(
            made.images, rows, color_mode=data.recipe.color_mode, title=title, facts=facts
        )
        Interrupt.current().tidies(out.parent)
        write_text(out, page)
    output.result(
        _in_words(title, facts, rows, out),
        {
            "run": str(run),
            "step": step,
            "epoch": place[0],
            "number": place[1],
            "steps_per_epoch": data.steps_per_epoch,
            "trained_steps": trained,
            "seed": data.sampler.seed,
            "sheet": None if out is None else str(out),
            "rows": [asdict(row) for row in rows],
        },
    )


def _check_page(out: Path) -> None:
    """Refuses, before any work is done, a page that cannot be written, or is none."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"-o must name an HTML page, such as sheet.html, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(
            f"{out} cannot be written: {out.parent} is no folder. Make it, or pass another -o."
        )
    if out.exists() and not out.is_file():
        raise FileExistsError(f"{out} is no plain file, and stays as it is. Pass another -o.")


def _step(data: RunData, step: int | None, epoch: int | None, batch: int | None) -> int:
    """The step that the options name, from 1."""
    if step is not None and epoch is None and batch is None:
        return step
    if step is not None or epoch is None or batch is None:
        raise click.UsageError("Name the step: either --step N, or --epoch E and --batch B.")
    if batch > data.steps_per_epoch:
        raise click.UsageError(
            f"--batch must be in 1..{data.steps_per_epoch}, the steps of an epoch of this run, got "
            f"{batch}"
        )
    return (epoch - 1) * data.steps_per_epoch + batch


def _trained_steps(run: Path) -> int | None:
    """How many steps a finished run says that it trained; None where it does not tell."""
    from infeed.trainers.run_folder import RUN_FILE

    try:
        steps = json.loads((run / RUN_FILE).read_text("utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # An interrupted run has no such file, and its batches are of interest all the same.
        return None
    return steps if isinstance(steps, int) else None


def _recipe_in_words(data: RunData) -> str:
    recipe = data.recipe
    words = (
        f"{recipe.height}x{recipe.width} {recipe.color_mode}, {recipe.fit}, "
        f"{recipe.interpolation}, decode {recipe.decode}"
    )
    return words if data.reencoding is None else f"{words}, through {data.reencoding.upper()}"


def _in_words(title: str, facts: dict[str, str], rows: Sequence[BatchRow], out: Path | None) -> str:
    from rich.cells import cell_len, set_cell_size

    lines = [title, *(f"{name}: {printable(value)}" for name, value in facts.items()), ""]
    table = [("row", "record", "weight", "label", "file"), *map(_cells, rows)]
    # Chinese letters are two columns wide.
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        numbers = [cell.rjust(width) for cell, width in zip(cells[:3], widths, strict=False)]
        lines.append("  ".join([*numbers, set_cell_size(cells[3], widths[3]), cells[4]]))
    if out is not None:
        lines += ["", f"The pictures are in {printable(str(out))}"]
    return "\n".join(lines)


def _cells(row: BatchRow) -> tuple[str, ...]:
    label = "" if row.label is None else f"{row.label} {_cut(printable(str(row.label_name)))}"
    file = _cut(printable(row.file)) + (f"  [{_cut(row.words)}]" if row.happened else "")
    return (str(row.row), str(row.position), f"{row.weight:g}", label, file)


def _cut(text: str) -> str:
    """A text that is no longer than a name of a file can be, for a table."""
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}..."
