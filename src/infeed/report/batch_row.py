"""The rows of a batch, with what happened to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from infeed.loader import Loader
from infeed.printable import show
from infeed.report.printable import printable
from infeed.stream import Batch


@final
@dataclass(frozen=True, slots=True)
class BatchRow:
    """What one row of a batch is.

    Attributes:
        row: its place in the batch, from 0.
        position: the record that the order put here.
        file: the name of that record's image, as the manifest writes it.
        label: the number of the class that the row is delivered with; None without labels.
        label_name: the name of that class.
        weight: what the row weighs; 0: it does not count.
        source: the record whose pixels are here: `position` unless it was replaced; None where it
            was masked.
        source_file: the name of that record's image.
        happened: any of `padded` (repeats a record to fill the batch), `replaced`, `masked` (black,
            since the image is bad), `recovered` (from a faulty file); mostly none.
        reason: why the image is bad: a code of `infeed.errors`; None if it is not.
        message: the same for people; or what was wrong with a recovered file.
    """

    row: int
    position: int
    file: str
    label: int | None
    label_name: str | None
    weight: float
    source: int | None
    source_file: str | None
    happened: tuple[str, ...]
    reason: str | None
    message: str | None

    @property
    def words(self) -> str:
        """What happened, for people; empty where nothing did. Names in it are printable."""
        why = f": {self.reason}" if self.reason else ""
        return "; ".join(
            f"replaced by {printable(str(self.source_file))} (record {self.source}){why}"
            if what == "replaced"
            else what + (why if what == "masked" else "")
            for what in self.happened
        )


def batch_rows(loader: Loader, batch: Batch) -> tuple[BatchRow, ...]:
    """The rows of a batch that this loader has just made by `Loader.batch`."""
    manifest, quarantine = loader.manifest, loader.quarantine
    bad = {image.position: image for image in quarantine.bad}
    recovered = {image.position: image for image in quarantine.recovered}
    plan = loader.sampler.plan(
        len(manifest), batch.epoch, batch.number, phase=batch.phase, members=loader.members
    )
    planned = plan.weights.tolist()
    rows = []
    for row, (position, source) in enumerate(
        zip(batch.positions.tolist(), batch.sources.tolist(), strict=True)
    ):
        happened = {
            "replaced": source not in (position, -1),
            "masked": source == -1,
            "padded": planned[row] == 0,
            "recovered": source in recovered,
        }
        why = bad.get(position) if source != position else None
        note = why or recovered.get(source)
        # The quarantine's message begins with the record and its name.
        _, _, message = note.message.partition(f"{show(note.uri)}: ") if note else ("", "", None)
        label = manifest.record(position if source == -1 else source)
        rows.append(
            BatchRow(
                row=row,
                position=position,
                file=manifest.uri(position),
                label=label.label,
                label_name=label.label_name,
                weight=float(batch.weights[row]),
                source=None if source == -1 else source,
                source_file=None if source == -1 else manifest.uri(source),
                happened=tuple(what for what, did in happened.items() if did),
                reason=why.reason if why else None,
                message=message,
            )
        )
    return tuple(rows)
