"""The making of one batch: bytes, pixels and labels for the records of a plan."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from time import perf_counter, thread_time
from typing import Final

import numpy as np
import numpy.typing as npt

from infeed.cache import Source, Store, checksum, decode_jpeg_into, encode_jpeg
from infeed.errors import BadImageError, StorageError, TooManyBadImagesError
from infeed.manifest import encode
from infeed.order import BatchPlan, draws
from infeed.printable import printable, show
from infeed.sample import Scratch, decode_into, to_float32
from infeed.stages import Augment, Stages
from infeed.stream.batch import Batch
from infeed.stream.buffers import Recycler
from infeed.stream.meter import STAGES
from infeed.stream.quarantine import BadImage
from infeed.stream.replacement import replacements
from infeed.stream.watch import GivenUp, Watch

# Rows a task: few enough that the last batch of an epoch still keeps every core busy, many
# enough that taking a task costs nothing beside making its rows. Rows that are only copied are had
# so fast that it takes more of them.
ROWS_PER_TASK = 8
ROWS_PER_TASK_COPIED = 64

logger = logging.getLogger(__name__)

# The places of `STAGES` in the seconds that a task has spent.
_READ, _HEADER, _DECODE, _FIT, _AUGMENT, _CONVERT, _FROM_CACHE, _TO_CACHE = range(len(STAGES))


# Characters of an error that are kept and shown.
_LONGEST: Final = 2000


class Tool:
    """What one thread works with: its scratch buffers, and the watch over what it waits for."""

    def __init__(self, stages: Stages) -> None:
        self.scratch = Scratch()
        self.watch = Watch(stages.stuck)
        # Where float32 is asked for, the uint8 rows of a task live here for a moment.
        rows = 0
        if stages.dtype == "float32":
            rows = ROWS_PER_TASK if stages.store is None else ROWS_PER_TASK_COPIED
        self.rows = np.empty((rows, *stages.recipe.shape), np.uint8)


class _Task:
    """A slice of a batch being made: what it has spent, and what is to be kept of it."""

    def __init__(self, tool: Tool) -> None:
        self.scratch = scratch = tool.scratch
        scratch.header_seconds = scratch.decode_seconds = scratch.fit_seconds = 0.0
        scratch.source_pixels = scratch.least_pixels = 0
        self.cpu_begin = thread_time()
        self.watch = tool.watch
        self.spent = [0.0] * len(STAGES)
        self.decoded = 0
        self.source_bytes = 0
        self.sources: list[Source] = []
        self.payloads: list[npt.NDArray[np.uint8]] = []
        self.checksums: list[int] = []


def rows_per_task(stages: Stages) -> int:
    """How many rows a thread takes at once, in batches that are planned now."""
    store = stages.store
    # A JPEG that is decoded again and an augmentation take as long as reading a photo may.
    if store is not None and store.encoding == "raw" and stages.augment is None and store.is_warm:
        return ROWS_PER_TASK_COPIED
    return ROWS_PER_TASK


class BatchWork:
    """One batch under way: its parts are slices of its rows."""

    def __init__(self, stages: Stages, plan: BatchPlan, recycler: Recycler) -> None:
        self._stages = stages
        self._plan = plan
        rows = len(plan.positions)
        self._images = recycler.empty((rows, *stages.recipe.shape), stages.dtype)
        self._sources = plan.positions.copy()
        self._positions = plan.positions.tolist()
        self._given_up: set[Hashable] = set()
        self._words: list[int] = []
        if stages.augment is not None:
            epochs, turns = plan.sample_epochs, plan.turns
            words = draws(stages.seed, "augment", epochs, plan.positions, turns)
            self._words = words.tolist()
        self._rows = rows_per_task(stages)
        self.parts = -(-rows // self._rows)

    def make(self, part: int, tool: Tool, /) -> None:
        """Reads, decodes and converts the rows of one slice, or takes them from the cache."""
        begin = part * self._rows
        out = self._images[begin : begin + self._rows]
        is_float = self._stages.dtype == "float32"
        rows = tool.rows[: len(out)] if is_float else out
        task = _Task(tool)
        # A thread that was given up may have come to other ones.
        self._sources[begin : begin + len(out)] = self._plan.positions[begin : begin + len(out)]
        store = self._store()
        if store is None:
            for index, image in enumerate(rows):
                self._fill(begin + index, image, task, None)
        else:
            positions = self._positions[begin : begin + len(out)]
            missing = self._from_cache(store, positions, rows, task)
            if len(missing) < len(out):
                self._stages.quarantine.add_good()
            for source in missing:
                self._fill(begin + source.index, rows[source.index], task, source)
            self._keep(store, task)
        if self._stages.augment is not None:
            start = perf_counter()
            for index, image in enumerate(rows):
                self._augment(self._stages.augment, begin + index, image)
            task.spent[_AUGMENT] = perf_counter() - start
        if is_float:
            start = perf_counter()
            to_float32(rows, self._stages.scale, out)
            task.spent[_CONVERT] = perf_counter() - start
        scratch = task.scratch
        task.spent[_HEADER] = scratch.header_seconds
        task.spent[_DECODE] = scratch.decode_seconds
        task.spent[_FIT] = scratch.fit_seconds
        self._stages.meter.add(
            len(out),
            task.spent,
            cpu_seconds=thread_time() - task.cpu_begin,
            decoded=task.decoded,
            source_bytes=task.source_bytes,
            source_pixels=scratch.source_pixels,
            least_pixels=scratch.least_pixels,
        )

    def give_up(self, what: Hashable, /) -> None:
        """A record is not read again for this batch, whether or not its read comes back."""
        self._given_up.add(what)
        if isinstance(what, str):
            logger.warning(
                "%s has not answered for %g seconds: it is done without until it does",
                what,
                self._stages.read_timeout_seconds,
            )

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

    def _fill(self, row: int, image: np.ndarray, task: _Task, source: Source | None) -> None:
        """Puts the planned record's pixels into `image`, or else what stands in for them."""
        position = self._positions[row]
        try:
            self._make(position, image, task, source)
        except BadImageError as error:
            self._note_bad(position, error)
        except GivenUp:
            raise
        except BaseException as error:
            # A storage of the user's own, out of memory, a mistake of ours: say where.
            error.add_note(self._place_of(position))
            raise
        else:
            self._stages.quarantine.add_good()
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
                self._load(candidate, image, task)
            except BadImageError as error:
                self._note_bad(candidate, error)
            else:
                self._stages.quarantine.add_good()
                self._sources[row] = candidate
                return
        raise TooManyBadImagesError(
            f"No record could replace {show(self._stages.manifest.uri(position))}: all that were "
            f"tried are bad too. Is the image folder right?\n{self._stages.quarantine.summary()}"
        )

    def _augment(self, augment: Augment, row: int, image: npt.NDArray[np.uint8]) -> None:
        """Changes one row at random, in place."""
        if self._sources[row] < 0:
            return
        try:
            changed = augment(image, self._words[row])
            if changed is not None and changed is not image:
                image[:] = _like(changed, image)
        except BaseException as error:
            error.add_note(self._place_of(self._positions[row]))
            raise

    def _load(self, position: int, image: np.ndarray, task: _Task) -> None:
        """Takes one record from the cache, or makes it."""
        source, store = None, self._store()
        if store is not None:
            missing = self._from_cache(store, [position], image[np.newaxis], task)
            if not missing:
                return
            source = missing[0]
        self._make(position, image, task, source)

    def _make(self, position: int, image: np.ndarray, task: _Task, source: Source | None) -> None:
        """Reads, decodes and fits one record."""
        stages = self._stages
        uri = stages.manifest.uri(position)
        start = perf_counter()
        if source is not None and source.data is not None:
            data = source.data
        else:
            data = self._read(position, uri, task.watch)
        task.spent[_READ] += perf_counter() - start
        note = decode_into(data, stages.recipe, image, task.scratch)
        task.decoded += 1
        task.source_bytes += len(data)
        payload = image.reshape(-1)
        if stages.reencoding == "jpeg":
            # Also where it cannot be kept: what a run sees must not depend on that.
            start = perf_counter()
            payload = np.frombuffer(encode_jpeg(image, stages.recipe), np.uint8)
            decode_jpeg_into(payload, stages.recipe, image)
            task.spent[_TO_CACHE] += perf_counter() - start
        if note is not None:
            # Not kept, so that it is noted each time.
            stages.quarantine.add_recovered(
                BadImage(position, uri, "recovered", f"record {position}, {show(uri)}: {note}")
            )
        elif source is not None:
            task.sources.append(source)
            task.payloads.append(payload)
            start = perf_counter()
            task.checksums.append(checksum(payload))
            task.spent[_TO_CACHE] += perf_counter() - start

    def _read(self, position: int, uri: str, watch: Watch) -> bytes:
        stages = self._stages
        if position in self._given_up or position in stages.stuck:
            raise StorageError(
                f"it could not be read within {stages.read_timeout_seconds:g} seconds "
                "(read_timeout_seconds)",
                reason="timed_out",
            )
        watch.enter(position)
        try:
            data = stages.storage.read(uri)
        finally:
            watch.leave()
        if type(data) is bytes:
            return data
        if isinstance(data, bytes | bytearray | memoryview):
            return bytes(data)
        raise TypeError(f"the storage's read must return bytes, got {type(data).__name__}")

    def _bytes(self, position: int, task: _Task) -> bytes | None:
        start = perf_counter()
        try:
            return self._read(position, self._stages.manifest.uri(position), task.watch)
        except StorageError:
            return None  # said when it is made
        finally:
            task.spent[_READ] += perf_counter() - start

    def _from_cache(
        self, store: Store, positions: list[int], rows: np.ndarray, task: _Task
    ) -> list[Source]:
        """What the cache does not hold; the rows of the rest are filled."""
        # Not optional: a thread that comes back late would write into rows that others have.
        start, read = perf_counter(), task.spent[_READ]
        task.watch.enter(_name_of(store), is_optional=False)
        try:
            return store.load(
                positions, rows, task.scratch, lambda position: self._bytes(position, task)
            )
        finally:
            task.watch.leave()
            # A cache that knows images by their bytes has them read.
            task.spent[_FROM_CACHE] += perf_counter() - start - (task.spent[_READ] - read)

    def _store(self) -> Store | None:
        """The cache, unless a thread waits for it to take an image and was given up."""
        store, stuck = self._stages.store, self._stages.stuck
        return None if stuck and store is not None and _name_of(store) in stuck else store

    def _keep(self, store: Store, task: _Task) -> None:
        if task.sources:
            start = perf_counter()
            # A thread that comes back late has only read from the rows.
            task.watch.enter(_name_of(store))
            try:
                store.keep(task.sources, task.payloads, task.checksums)
            finally:
                task.watch.leave()
            task.spent[_TO_CACHE] += perf_counter() - start

    def _place_of(self, position: int) -> str:
        uri = self._stages.manifest.uri(position)
        plan = self._plan
        return f"record {position}, {show(uri)}, batch {plan.number} of epoch {plan.epoch}"

    def _note_bad(self, position: int, error: BadImageError) -> None:
        uri = self._stages.manifest.uri(position)
        where = f"record {position}, {show(uri)}"
        if self._stages.on_bad_image == "raise":
            error.add_note(self._place_of(position))
            try:
                raise error
            finally:
                # Its traceback has this frame, which would have it, and with it the batch.
                del error
        self._stages.quarantine.add(
            BadImage(position, uri, error.reason, f"{where}: {printable(_cut(str(error)))}")
        )


def _like(changed: object, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """What an augmentation returned, if it can take the place of the image."""
    if isinstance(changed, np.ndarray):
        if changed.dtype == image.dtype and changed.shape == image.shape:
            return changed
        found = f"{changed.dtype} of shape {changed.shape}"
    else:
        found = repr(changed)
    raise TypeError(
        "augment must return None or an image like the one it got, uint8 of shape "
        f"{image.shape}, got {found}"
    )


def _cut(text: str) -> str:
    """A text of somebody else's, no longer than anybody reads."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _name_of(store: Store) -> str:
    folder = printable(str(store.cache.folder))
    return f"The cache in {folder}, or the folder of its source images,"
