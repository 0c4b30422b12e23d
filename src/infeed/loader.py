"""The loader: joins manifest, order, storage, pixels and threads into batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Literal, Self, final, get_args

import numpy as np

from infeed.errors import BadImageError, LoaderClosedError, ManifestError, TooManyBadImagesError
from infeed.manifest import LabelMode, Manifest, encode
from infeed.order import BatchPlan, Sampler
from infeed.read import LocalStorage, Storage
from infeed.sample import Recipe, Scratch, decode_into, to_float32, use_one_thread_per_call
from infeed.stream.batch import Batch
from infeed.stream.buffers import Recycler
from infeed.stream.cores import usable_cores
from infeed.stream.meter import Meter
from infeed.stream.quarantine import BadImage, Quarantine
from infeed.stream.replacement import replacements
from infeed.stream.window import Window

OnBadImage = Literal["replace", "mask", "raise"]
PixelType = Literal["uint8", "float32"]

# Rows a task: few enough that the last batch of an epoch still keeps every core busy, many
# enough that taking a task costs nothing beside decoding its rows.
ROWS_PER_TASK = 8

# Batches under way or ready. Two keep the threads busy while the reader takes one; the third
# absorbs a step that is shorter than the others.
DEPTH = 3


@final
class Loader:
    """Batches of an image set, in an exact order, made by threads.

    A loader holds no place: `epoch`, `forever` and `batch` start from what they are given, so
    that one loader serves several readers. Threads live only while something reads.

    Args:
        manifest: what exists.
        recipe: the form that every image gets.
        sampler: which records make up which batch.
        storage: where the bytes come from; the manifest's image folder by default.
        label_mode: `int`: int32 (rows,); `categorical`: one-hot float32 (rows, num_classes);
            `binary`: float32 (rows, 1), for two classes; None: no labels.
        class_weight: what the weights of a class' rows are multiplied with; 1 where a class is
            not named.
        dtype: of the images: `uint8`, or `float32` made in the same pass.
        scale: what float32 pixels are multiplied with; 1/255 equals division by 255 to the
            last bit. None leaves 0..255.
        on_bad_image: `replace`: by another good record of the same class, chosen by (seed,
            epoch, position) alone; `mask`: by a black row of weight 0; `raise`: stop.
        max_bad: how many different bad records to bear: a count (int) or a share of the
            manifest (float).
        threads: how many at most; by default as many as cores that this process may use.
        depth: how many batches may be under way or ready at once.

    Raises:
        ValueError: an argument that cannot be, or a manifest that gives no batch at all.

    >>> import numpy as np, cv2
    >>> from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
    >>> leaf = cv2.imencode(".jpg", np.full((60, 80, 3), 120, np.uint8))[1].tobytes()
    >>> storage = MemoryStorage({"叶.jpg": leaf, "b.JPG": leaf, "c.jpg": leaf})
    >>> manifest = Manifest.from_rows(["叶.jpg", "b.JPG", "c.jpg"], ["rust", "healthy", "rust"])
    >>> recipe = Recipe(height=32, width=32)
    >>> loader = Loader(manifest, recipe, Sampler(batch_size=2), storage=storage)
    >>> with loader.epoch(0) as batches:
    ...     [batch.images.shape for batch in batches]
    [(2, 32, 32, 3), (1, 32, 32, 3)]
    """

    def __init__(
        self,
        manifest: Manifest,
        recipe: Recipe,
        sampler: Sampler,
        *,
        storage: Storage | None = None,
        label_mode: LabelMode | None = "int",
        class_weight: Mapping[int, float] | None = None,
        dtype: PixelType = "uint8",
        scale: float | None = None,
        on_bad_image: OnBadImage = "replace",
        max_bad: int | float = 0.05,
        threads: int | None = None,
        depth: int = DEPTH,
    ) -> None:
        _check_choice("dtype", dtype, get_args(PixelType))
        _check_choice("on_bad_image", on_bad_image, get_args(OnBadImage))
        if label_mode is not None:
            _check_choice("label_mode", label_mode, get_args(LabelMode))
        if scale is not None and dtype == "uint8":
            raise ValueError(
                f"scale={scale!r} needs dtype='float32'; with uint8 images, scale on the device: "
                "put keras.layers.Rescaling first in the model"
            )
        if label_mode == "binary" and manifest.labels is not None and manifest.num_classes != 2:
            raise ManifestError(
                f"{manifest.source}: label_mode='binary' needs exactly 2 classes, there are "
                f"{manifest.num_classes}. Pass label_mode='int' or 'categorical'."
            )
        _check_count("threads", threads, or_none="None for all cores")
        _check_count("depth", depth)
        if scale is not None and not (_is_number(scale) and math.isfinite(scale) and scale):
            raise ValueError(f"scale must be a finite number that is not 0, got {scale!r}")
        if storage is None:
            if manifest.images is None:
                raise ValueError(
                    "The manifest has no image folder. Give it one (images=...), or pass storage="
                )
            storage = LocalStorage(manifest.images)
        self.manifest = manifest
        self.recipe = recipe
        self.sampler = sampler
        self.storage = storage
        self.label_mode: LabelMode | None = label_mode
        self._class_weights = _class_weights(class_weight, manifest)
        self.dtype: PixelType = dtype
        self.scale = scale
        self.on_bad_image: OnBadImage = on_bad_image
        self.threads = usable_cores() if threads is None else threads
        self.depth = depth
        self.quarantine = Quarantine(max_bad, records=len(manifest))
        self.meter = Meter()

    def __repr__(self) -> str:
        return (
            f"Loader({len(self.manifest)} records, {self.recipe}, {self.sampler}, "
            f"threads={self.threads})"
        )

    def steps(self, epoch: int = 0) -> int:
        """How many batches epoch `epoch` has."""
        return self.sampler.steps(len(self.manifest), epoch)

    def epoch(self, epoch: int, start: int = 0) -> BatchStream:
        """The batches of one epoch, from number `start` on; to be opened by `with`."""
        _check_place(epoch, start)
        if start > self.steps(epoch):
            raise ValueError(
                f"epoch {epoch} has {self.steps(epoch)} batches: cannot start at {start}"
            )
        return BatchStream(self, self._works(epoch, start, endless=False))

    def endless(self, epoch: int = 0, start: int = 0) -> BatchStream:
        """The batches from there on, epoch after epoch, without end; to be opened by `with`.

        Raises:
            ValueError: no epoch has a batch (`remainder="drop"` with a batch larger than the
                set), so that the stream would never deliver.
        """
        _check_place(epoch, start)
        self.check_not_empty()
        return BatchStream(self, self._works(epoch, start, endless=True))

    def check_not_empty(self) -> None:
        """Refuses settings under which no epoch has any batch."""
        n = len(self.manifest)
        if n == 0:
            raise ValueError("The manifest has no records: there is no batch to make")
        # `carry` fills a batch from several epochs; all others repeat their first epoch's count.
        if self.sampler.remainder != "carry" and self.steps(0) == 0:
            raise ValueError(
                f"remainder='drop' with batch_size={self.sampler.batch_size} leaves no batch of "
                f"{n} records. Pass a smaller batch_size or remainder='keep'."
            )

    def batch(self, epoch: int, number: int) -> Batch:
        """The very batch that `epoch` delivers as its `number`-th, made in the calling thread.

        Raises:
            IndexError: the epoch has no such batch.
        """
        plan = self.sampler.plan(len(self.manifest), epoch, number)
        work = _BatchWork(self, plan, Recycler(keep=0))
        tool = _Tool(self)
        for part in range(work.parts):
            work.make(part, tool)
        return work.result()

    def forever(
        self, epoch: int = 0, start: int = 0, *, weights: bool = False
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """A generator without end of (images, labels), for `fit_generator` and its like.

        Its threads end with it: when it is closed, collected, or left by an exception. Unlike a
        `with` block it does not wait for them, since the collector may close it anywhere.

        Args:
            epoch: where to begin.
            start: the batch of that epoch to begin with.
            weights: yield (images, labels, weights).
        """
        stream = self.endless(epoch, start).__enter__()
        try:
            for batch in stream:
                yield batch.as_tuple(weights=weights)
        finally:
            stream.stop()

    def _works(self, epoch: int, start: int, *, endless: bool) -> Iterator[_BatchWork]:
        recycler = Recycler()
        for e in itertools.count(epoch):
            for number in range(start, self.steps(e)):
                plan = self.sampler.plan(len(self.manifest), e, number)
                yield _BatchWork(self, plan, recycler)
            if not endless:
                return
            start = 0


@final
class BatchStream(Iterator[Batch]):
    """Batches in order, made ahead by threads that live as long as the `with` block.

    Life cycle: made by `Loader.epoch` or `Loader.endless`; `__enter__` starts the threads;
    iterating delivers; leaving the block, for whatever reason, ends the threads and waits for
    the image that each has in hand.
    """

    def __init__(self, loader: Loader, works: Iterator[_BatchWork]) -> None:
        self._loader = loader
        self._window: Window[_Tool, Batch] | None = None
        self._works = works

    def __enter__(self) -> Self:
        if self._window is not None:
            raise LoaderClosedError("a stream of batches can be opened once: make another one")
        use_one_thread_per_call()
        loader = self._loader
        self._window = Window(
            self._works,
            lambda: _Tool(loader),
            threads=loader.threads,
            depth=loader.depth,
            meter=loader.meter,
            name="decode",
        )
        self._window.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            StopIteration: the epoch is over.
            LoaderClosedError: outside the `with` block.
            BadImageError: `on_bad_image="raise"`, and an image is bad.
            TooManyBadImagesError: the budget of bad images is used up.
        """
        if self._window is None:
            raise LoaderClosedError(
                "batches are made inside a with block: "
                "`with loader.epoch(0) as batches: for batch in batches: ...`"
            )
        return self._window.next()

    def close(self) -> None:
        """Ends the threads and waits for them. May be called more than once."""
        if self._window is not None:
            self._window.close()

    def stop(self) -> None:
        """Tells the threads to end, without waiting for the image that each has in hand."""
        if self._window is not None:
            self._window.stop()


class _Tool:
    """What one thread works with: its scratch buffers."""

    def __init__(self, loader: Loader) -> None:
        self.scratch = Scratch()
        # Where float32 is asked for, the uint8 rows of a task live here for a moment.
        rows = ROWS_PER_TASK if loader.dtype == "float32" else 0
        self.rows = np.empty((rows, *loader.recipe.shape), np.uint8)


class _BatchWork:
    """One batch under way: its parts are slices of its rows."""

    def __init__(self, loader: Loader, plan: BatchPlan, recycler: Recycler) -> None:
        self._loader = loader
        self._plan = plan
        rows = len(plan.positions)
        self._images = recycler.empty((rows, *loader.recipe.shape), loader.dtype)
        self._sources = plan.positions.copy()
        self._positions = plan.positions.tolist()
        self.parts = -(-rows // ROWS_PER_TASK)

    def make(self, part: int, tool: _Tool, /) -> None:
        """Reads, decodes and converts the rows of one slice."""
        begin = part * ROWS_PER_TASK
        out = self._images[begin : begin + ROWS_PER_TASK]
        is_float = self._loader.dtype == "float32"
        rows = tool.rows[: len(out)] if is_float else out
        spent = [0.0, 0.0, 0.0]
        for row, image in enumerate(rows, begin):
            self._fill(row, image, tool.scratch, spent)
        if is_float:
            start = perf_counter()
            to_float32(rows, self._loader.scale, out)
            spent[2] = perf_counter() - start
        self._loader.meter.add(len(out), spent)

    def result(self) -> Batch:
        """The batch. Labels follow the pixels: a replaced row has its replacement's."""
        self._loader.quarantine.check()
        manifest, plan = self._loader.manifest, self._plan
        masked = self._sources < 0
        records = np.where(masked, plan.positions, self._sources)
        weights = plan.weights.copy()
        if manifest.weights is not None:
            weights *= manifest.weights[plan.positions]
        weights[masked] = 0
        if manifest.labels is not None and self._loader._class_weights is not None:
            weights *= self._loader._class_weights[manifest.labels[records]]
        labels, mode = None, self._loader.label_mode
        if manifest.labels is not None and mode is not None:
            labels = encode(manifest.labels[records], mode, manifest.num_classes)
        return Batch(
            images=self._images,
            labels=labels,
            weights=weights,
            positions=plan.positions,
            sources=self._sources,
            epoch=plan.epoch,
            number=plan.number,
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
        if self._loader.on_bad_image == "mask":
            image.fill(0)
            self._sources[row] = -1
            return
        seed, epoch = self._loader.sampler.seed, self._plan.epoch
        for candidate in replacements(
            self._loader.manifest, seed=seed, epoch=epoch, position=position
        ):
            try:
                self._load(candidate, image, scratch, spent)
            except BadImageError as error:
                self._note_bad(candidate, error)
            else:
                self._sources[row] = candidate
                return
        raise TooManyBadImagesError(
            f"No record could replace {self._loader.manifest.uri(position)!r}: all that were tried "
            f"are bad too. Is the image folder right?\n{self._loader.quarantine.summary()}"
        )

    def _load(self, position: int, image: np.ndarray, scratch: Scratch, spent: list[float]) -> None:
        """Reads, decodes and fits one record."""
        loader = self._loader
        uri = loader.manifest.uri(position)
        start = perf_counter()
        data = loader.storage.read(uri)
        read = perf_counter()
        note = decode_into(data, loader.recipe, image, scratch)
        spent[0] += read - start
        spent[1] += perf_counter() - read
        if note is not None:
            loader.quarantine.add_recovered(
                BadImage(position, uri, "recovered", f"record {position}, {uri!r}: {note}")
            )

    def _place_of(self, position: int) -> str:
        uri = self._loader.manifest.uri(position)
        plan = self._plan
        return f"record {position}, {uri!r}, batch {plan.number} of epoch {plan.epoch}"

    def _note_bad(self, position: int, error: BadImageError) -> None:
        uri = self._loader.manifest.uri(position)
        where = f"record {position}, {uri!r}"
        if self._loader.on_bad_image == "raise":
            error.add_note(self._place_of(position))
            raise error
        self._loader.quarantine.add(BadImage(position, uri, error.reason, f"{where}: {error}"))


def _class_weights(
    class_weight: Mapping[int, float] | None, manifest: Manifest
) -> np.ndarray | None:
    """float32 (num_classes,), or None where all classes weigh 1."""
    if class_weight is None:
        return None
    if manifest.labels is None:
        raise ValueError("class_weight needs labels, and this manifest has none")
    weights = np.ones(manifest.num_classes, np.float32)
    for label, weight in class_weight.items():
        if not 0 <= label < len(weights) or not _is_number(weight) or not 0 <= weight < math.inf:
            raise ValueError(
                f"class_weight must map the numbers of classes, 0 to {len(weights) - 1}, to finite "
                f"weights of 0 or more, got {label!r}: {weight!r}"
            )
        weights[label] = weight
    return weights


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}")


def _check_count(name: str, value: object, or_none: str = "") -> None:
    if value is None and or_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        wanted = "a whole number, at least 1" + (f", or {or_none}" if or_none else "")
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _check_place(epoch: int, start: int) -> None:
    if epoch < 0 or start < 0:
        raise ValueError(f"epoch and start must be 0 or more, got {epoch} and {start}")
