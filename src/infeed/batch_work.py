"""The making of one batch: bytes, pixels and labels for the records of a plan."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from infeed.errors import BadImageError, TooManyBadImagesError
from infeed.manifest import encode
from infeed.order import BatchPlan
from infeed.sample import Scratch, decode_into, to_float32
from infeed.stages import Stages
from infeed.stream.batch import Batch
from infeed.stream.buffers import Recycler
from infeed.stream.quarantine import BadImage
from infeed.stream.replacement import replacements

# Rows a task: few enough that the last batch of an epoch still keeps every core busy, many
# enough that taking a task costs nothing beside decoding its rows.
ROWS_PER_TASK = 8


class Tool:
    """What one thread works with: its scratch buffers."""

    def __init__(self, stages: Stages) -> None:
        self.scratch = Scratch()
        # Where float32 is asked for, the uint8 rows of a task live here for a moment.
        rows = ROWS_PER_TASK if stages.dtype == "float32" else 0
        self.rows = np.empty((rows, *stages.recipe.shape), np.uint8)


class BatchWork:
    """One batch under way: its parts are slices of its rows."""

    def __init__(self, stages: Stages, plan: BatchPlan, recycler: Recycler) -> None:
        self._stages = stages
        self._plan = plan
        rows = len(plan.positions)
        self._images = recycler.empty((rows, *stages.recipe.shape), stages.dtype)
        self._sources = plan.positions.copy()
        self._positions = plan.positions.tolist()
        self.parts = -(-rows // ROWS_PER_TASK)

    def make(self, part: int, tool: Tool, /) -> None:
        """Reads, decodes and converts the rows of one slice."""
        begin = part * ROWS_PER_TASK
        out = self._images[begin : begin + ROWS_PER_TASK]
        is_float = self._stages.dtype == "float32"
        rows = tool.rows[: len(out)] if is_float else out
        spent = [0.0, 0.0, 0.0]
        for row, image in enumerate(rows, begin):
            self._fill(row, image, tool.scratch, spent)
        if is_float:
            start = perf_counter()
            to_float32(rows, self._stages.scale, out)
            spent[2] = perf_counter() - start
        self._stages.meter.add(len(out), spent)

    def result(self) -> Batch:
        """The batch. Labels follow the pixels: a replaced row has its replacement's."""
        self._stages.quarantine.check()
        stages, plan = self._stages, self._plan
        manifest = stages.manifest
        masked = self._sources < 0
        records = np.where(masked, plan.positions, self._sources)
        weights = plan.weights.copy()
        if manifest.weights is not None:
            weights *= manifest.weights[plan.positions]
        weights[masked] = 0
        if manifest.labels is not None and stages.class_weights is not None:
            weights *= stages.class_weights[manifest.labels[records]]
        labels, mode = None, stages.label_mode
        if manifest.labels is not None and mode is not None:
            labels = encode(manifest.labels[records], mode, manifest.num_classes)
        return Batch(
            images=self._images,
            labels=labels,
            weights=weights,
            positions=plan.positions,
            sources=self._sources,
            sample_epochs=plan.sample_epochs,
            turns=plan.turns,
            epoch=plan.epoch,
            number=plan.number,
            phase=plan.phase,
        )

    def _fill(self, row: int, image: np.ndarray, scratch: Scratch, spent: list[float]) -> None:
        """Puts the planned record's pixels into `image`, or else what stands in for them."""
        position = self._positions[row]
        try:
            self._load(position, image, scratch, spent)
        except BadImageError as error:
            self._note_bad(position, error)
        except Exception as error:
            # A storage of the user's own, out of memory, a mistake of ours: say where.
            error.add_note(self._place_of(position))
            raise
        else:
            return
        if self._stages.on_bad_image == "mask":
            image.fill(0)
            self._sources[row] = -1
            return
        seed, epoch = self._stages.seed, int(self._plan.sample_epochs[row])
        for candidate in replacements(
            self._stages.manifest, seed=seed, epoch=epoch, position=position
        ):
            try:
                self._load(candidate, image, scratch, spent)
            except BadImageError as error:
                self._note_bad(candidate, error)
            else:
                self._sources[row] = candidate
                return
        raise TooManyBadImagesError(
            f"No record could replace {self._stages.manifest.uri(position)!r}: all that were tried "
            f"are bad too. Is the image folder right?\n{self._stages.quarantine.summary()}"
        )

    def _load(self, position: int, image: np.ndarray, scratch: Scratch, spent: list[float]) -> None:
        """Reads, decodes and fits one record."""
        stages = self._stages
        uri = stages.manifest.uri(position)
        start = perf_counter()
        data = stages.storage.read(uri)
        read = perf_counter()
        note = decode_into(data, stages.recipe, image, scratch)
        spent[0] += read - start
        spent[1] += perf_counter() - read
        if note is not None:
            stages.quarantine.add_recovered(
                BadImage(position, uri, "recovered", f"record {position}, {uri!r}: {note}")
            )

    def _place_of(self, position: int) -> str:
        uri = self._stages.manifest.uri(position)
        plan = self._plan
        return f"record {position}, {uri!r}, batch {plan.number} of epoch {plan.epoch}"

    def _note_bad(self, position: int, error: BadImageError) -> None:
        uri = self._stages.manifest.uri(position)
        where = f"record {position}, {uri!r}"
        if self._stages.on_bad_image == "raise":
            error.add_note(self._place_of(position))
            raise error
        self._stages.quarantine.add(BadImage(position, uri, error.reason, f"{where}: {error}"))
