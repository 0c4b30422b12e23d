"""The loader: joins manifest, order, storage, pixels and threads into batches."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from infeed.batch_stream import BatchStream
from infeed.batch_work import ROWS_PER_TASK, BatchWork, rows_per_task
from infeed.cache import Cache, Choice, Counts, Store, can_be_jpeg, encoding_for
from infeed.errors import ManifestError, ResumeError
from infeed.identity import identity
from infeed.manifest import LabelMode, Manifest
from infeed.order import BatchPlan, ClassMembers, Cursor, Sampler, draws
from infeed.printable import printable
from infeed.read import LocalStorage, RetryingStorage, Storage
from infeed.sample import Recipe
from infeed.stages import (
    Augment,
    OnBadImage,
    PixelType,
    Reencoding,
    Stages,
    name_of,
    weights_by_class,
)
from infeed.state import cursor_of, save_state
from infeed.stream.batch import Batch
from infeed.stream.buffers import Recycler
from infeed.stream.cores import usable_cores
from infeed.stream.journal import Journal
from infeed.stream.meter import Meter
from infeed.stream.quarantine import Quarantine
from infeed.stream.watch import pause

__all__ = [
    "READ_TIMEOUT_SECONDS",
    "Augment",
    "BatchStream",
    "Loader",
    "OnBadImage",
    "PixelType",
    "Reencoding",
]

# Batches that lie ready beyond those that the threads have in hand: one for the reader to take,
# one for a step that is shorter than the others.
READY = 2

# What disks and networks answer in, if they ever do; long enough for one that wakes up.
READ_TIMEOUT_SECONDS = 60.0

# Batches are planned together up to so many rows: of 64 rows each that takes a fifth of the time.
PLANNED_ROWS = 1024


@final
class Loader:
    """Batches of an image set, in an exact order, made by threads.

    `epoch`, `endless`, `forever` and `batch` start from what they are given, so that one loader
    serves several readers. Threads live only while something reads. The only thing that changes
    is `cursor`, the place of the reader that took a batch last, from which `resume` goes on.

    Args:
        manifest: what exists.
        recipe: the form that every image gets.
        sampler: which records make up which batch.
        storage: where the bytes come from; the manifest's image folder by default. Failures that
            may pass are waited out: see `RetryingStorage`, which may be given with other settings.
        cache: keeps fitted images on disk, so that later epochs decode nothing: a folder, or a
            `Cache`. None: nothing is kept.
        reencoding: `jpeg`: all images go through the JPEG of a cache with that encoding, though
            there is none, so that their pixels are those of a run that had one. None: only as
            the cache does it.
        label_mode: `int`: int32 (rows,); `categorical`: one-hot float32 (rows, num_classes);
            `binary`: float32 (rows, 1), for two classes; None: no labels.
        class_weight: what the weights of a class' rows are multiplied with; 1 where a class is
            not named.
        dtype: of the images: `uint8`, or `float32` made in the same pass.
        scale: what float32 pixels are multiplied with; 1/255 equals division by 255 to the
            last bit. None leaves 0..255.
        on_bad_image: `replace`: by another good record of the same class, chosen by (seed,
            epoch, position) alone; `mask`: by a black row of weight 0; `raise`: stop.
        augment: changes each image at random, after the cache and before float32 is made of it.
            Called by the threads with the image, uint8 (height, width, channels), which it may
            write to, and a random word, an int of 64 bits that belongs to the sample: from the
            same word it must make the same. Returns None for the image in place, or another one
            of the same shape. A black row in the place of a bad image is left alone. A saved
            state knows it by its name alone.
        max_bad: how many different bad records to bear: a count (int) or a share of the
            manifest (float). Where not one of the first `HOPELESS` is good, it is too many, too.
        bad_images: a file that gets a line of JSON for each bad image, as soon as it is met: see
            `Journal`. None: they are only logged and counted.
        read_timeout_seconds: a read that takes longer is given up, and its image is bad, with the
            reason `timed_out`. Looked at while a reader waits for a batch. None: never.
        threads: how many at most; by default as many as cores that this process may use.
        depth: how many batches may be under way or ready at once; by default as many as all
            threads can have in hand in slices of 8 rows, and two more.

    Attributes:
        cursor: the place after the batch that a reader got last from any stream of this loader;
            the beginning of epoch 0 before there was one. What threads have made ahead does not
            count, nor does `batch`. May be set, to have `resume` begin elsewhere.
        cache: the cache's settings, or None.
        cache_choice: how it keeps images, and why so, or None.
        reencoding: what all images go through, or None.
        members: the classes of the records, where the sampling needs them; otherwise None.

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
        cache: Cache | str | Path | None = None,
        reencoding: Reencoding | None = None,
        label_mode: LabelMode | None = "int",
        class_weight: Mapping[int, float] | None = None,
        dtype: PixelType = "uint8",
        scale: float | None = None,
        on_bad_image: OnBadImage = "replace",
        augment: Augment | None = None,
        max_bad: int | float = 0.05,
        bad_images: str | Path | None = None,
        read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
        threads: int | None = None,
        depth: int | None = None,
    ) -> None:
        _check_count("threads", threads, or_none="None for all cores")
        _check_count("depth", depth, or_none="None for as many as keep all threads busy")
        _check_seconds("read_timeout_seconds", read_timeout_seconds)
        if storage is None:
            if manifest.images is None:
                raise ValueError(
                    "The manifest has no image folder. Give it one (images=...), or pass storage="
                )
            storage = LocalStorage(manifest.images)
        self.manifest = manifest
        self.recipe = recipe
        self.sampler = sampler
        if not isinstance(storage, Storage):
            raise TypeError(f"storage must have a method read(uri) -> bytes, got {storage!r}")
        self.storage = storage
        if not isinstance(storage, RetryingStorage):
            storage = RetryingStorage(storage, wait=pause)
        self.cache = Cache(cache) if isinstance(cache, str | Path) else cache
        self.cache_choice: Choice | None = None
        store: Store | None = None
        if self.cache is not None:
            self.cache_choice = encoding_for(self.cache, recipe, len(manifest))
            store = Store(
                self.cache,
                self.cache_choice.encoding,
                recipe=recipe,
                manifest=manifest,
                storage=storage,
            )
        self.reencoding = _reencoding(reencoding, recipe, store)
        self.label_mode: LabelMode | None = label_mode
        self.dtype: PixelType = dtype
        self.scale = scale
        self.on_bad_image: OnBadImage = on_bad_image
        self.augment = augment
        self.threads = usable_cores() if threads is None else threads
        self._own_depth = depth
        self.depth = self._depth_for(self.threads)
        self.read_timeout_seconds = read_timeout_seconds
        self.quarantine = Quarantine(
            max_bad,
            records=len(manifest),
            journal=None if bad_images is None else Journal(bad_images),
        )
        self.meter = Meter()
        self.cursor = Cursor()
        self._stages = Stages(
            manifest=manifest,
            recipe=recipe,
            storage=storage,
            store=store,
            reencoding=self.reencoding,
            seed=sampler.seed,
            label_mode=label_mode,
            class_weights=weights_by_class(class_weight, manifest),
            dtype=dtype,
            scale=scale,
            on_bad_image=on_bad_image,
            augment=augment,
            quarantine=self.quarantine,
            meter=self.meter,
            read_timeout_seconds=read_timeout_seconds,
        )
        self.members = _class_members(sampler, manifest)

    def __repr__(self) -> str:
        return (
            f"Loader({len(self.manifest)} records, {self.recipe}, {self.sampler}, "
            f"threads={self.threads})"
        )

    def tasks(self, threads: int | None = None) -> int:
        """How many slices of batches may be in the making at once; more threads rest.

        Fewer, and larger, where a cache holds the images as they are delivered.

        Args:
            threads: if there were so many; None: as many as there are.
        """
        depth = self.depth if threads is None else self._depth_for(threads)
        return depth * -(-self.sampler.batch_size // rows_per_task(self._stages))

    def steps(self, epoch: int = 0, *, phase: int = 0) -> int:
        """How many batches epoch `epoch` has."""
        return self.sampler.steps(len(self.manifest), epoch, phase=phase)

    def epoch(self, epoch: int, start: int = 0, *, phase: int = 0) -> BatchStream:
        """The batches of one epoch, from number `start` on; to be opened by `with`.

        Args:
            phase: where the cuts between batches lie; 0 unless `Sampler.place` said otherwise.
        """
        _check_place(epoch, start)
        steps = self.steps(epoch, phase=phase)
        if start > steps:
            raise ValueError(f"epoch {epoch} has {steps} batches: cannot start at {start}")
        return self._stream(self._works(epoch, start, phase, endless=False))

    def endless(self, epoch: int = 0, start: int = 0, *, phase: int = 0) -> BatchStream:
        """The batches from there on, epoch after epoch, without end; to be opened by `with`.

        Args:
            phase: where the cuts between batches lie; 0 unless `Sampler.place` said otherwise.
                It holds for the first epoch alone, with `remainder="carry"` for all.

        Raises:
            ValueError: no epoch has a batch (`remainder="drop"` with a batch larger than the
                set), so that the stream would never deliver.
        """
        _check_place(epoch, start)
        self.check_not_empty()
        self.steps(epoch, phase=phase)  # refuses a wrong phase now, not in a thread
        return self._stream(self._works(epoch, start, phase, endless=True))

    def draws(self, batch: Batch, purpose: str) -> np.ndarray:
        """uint64 (rows,): a random word for each row of a batch of this loader.

        It belongs to the sample: the same whatever the batch, the shard or the thread that it
        comes in, and after a resume. A record that comes again has another word.

        Args:
            purpose: what the words are for; another purpose has other words.
        """
        return draws(self.sampler.seed, purpose, batch.sample_epochs, batch.positions, batch.turns)

    def resume(self) -> BatchStream:
        """The batches from `cursor` on, epoch after epoch, without end; to be opened by `with`.

        Raises:
            ValueError: no epoch has a batch.
        """
        self.check_not_empty()
        epoch, number, phase = self.sampler.place(len(self.manifest), self.cursor)
        return self.endless(epoch, number, phase=phase)

    def identity(self) -> dict[str, Any]:
        """What order, pixels and weights depend on, as JSON values under constant keys."""
        weights = self._stages.class_weights
        return identity(
            self.manifest,
            self.recipe,
            self.sampler,
            label_mode=self.label_mode,
            dtype=self.dtype,
            scale=self.scale,
            on_bad_image=self.on_bad_image,
            class_weights=None if weights is None else weights.tolist(),
            reencoding=self.reencoding,
            augment=name_of(self.augment),
        )

    def state_dict(self) -> dict[str, Any]:
        """The place and the identity, as JSON values of less than 4 KB under constant keys."""
        return save_state(self.cursor, self.identity())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Sets `cursor` to a place that `state_dict` saved, for `resume` to go on from.

        The number of shards may be another one than then, with the same batch size on each or
        with the same batch size over all.

        Raises:
            ResumeError: `state` is no such dict, or was saved with other settings; names each
                of them with both values. The loader stays as it was.
        """
        cursor = cursor_of(state, self.identity())
        try:
            self.sampler.place(len(self.manifest), cursor)
        except ValueError as error:
            raise ResumeError(f"the state has no place to go on from: {error}") from error
        self.cursor = cursor

    @property
    def cache_counts(self) -> Counts:
        """What the cache has done so far; all 0 without one."""
        store = self._stages.store
        return Counts() if store is None else store.counts

    @property
    def cache_complaints(self) -> dict[str, str]:
        """What went wrong with the cache, by what it is about: see `Store.complaints`."""
        store = self._stages.store
        return {} if store is None else store.complaints

    def close(self) -> None:
        """Closes the files of the cache; they are opened again when they are needed.

        For a moment when no stream is open. Not needed before the program ends.
        """
        if self._stages.store is not None:
            self._stages.store.close()

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

    def batch(self, epoch: int, number: int, *, phase: int = 0) -> Batch:
        """The very batch that `epoch` delivers as its `number`-th; `cursor` does not move.

        Args:
            phase: the batch's own `phase`, where a run was resumed with another batch size.

        Raises:
            IndexError: the epoch has no such batch.
        """
        work = BatchWork(self._stages, self._plan(epoch, number, phase), Recycler(keep=0))
        with self._stream(iter([work]), delivered=lambda _: None) as batches:
            return next(batches)

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

    def _depth_for(self, threads: int) -> int:
        size = self.sampler.batch_size
        return self._own_depth or READY + -(-threads * min(ROWS_PER_TASK, size) // size)

    def _stream(
        self, works: Iterator[BatchWork], delivered: Callable[[Batch], None] | None = None
    ) -> BatchStream:
        return BatchStream(
            works,
            self._stages,
            threads=self.threads,
            depth=self.depth,
            delivered=delivered or self._move_on,
        )

    def _plan(self, epoch: int, number: int, phase: int) -> BatchPlan:
        return self.sampler.plan(
            len(self.manifest), epoch, number, phase=phase, members=self.members
        )

    def _move_on(self, batch: Batch) -> None:
        self.cursor = self.sampler.cursor(
            len(self.manifest), batch.epoch, batch.number + 1, phase=batch.phase
        )

    def _works(self, epoch: int, start: int, phase: int, *, endless: bool) -> Iterator[BatchWork]:
        recycler = Recycler()
        ahead = max(1, PLANNED_ROWS // self.sampler.batch_size)
        for e in itertools.count(epoch):
            steps = self.steps(e, phase=phase)
            for begin in range(start, steps, ahead):
                numbers = range(begin, min(begin + ahead, steps))
                for plan in self.sampler.plans(
                    len(self.manifest), e, numbers, phase=phase, members=self.members
                ):
                    yield BatchWork(self._stages, plan, recycler)
            if not endless:
                return
            start = 0
            if self.sampler.remainder != "carry":
                phase = 0


def _reencoding(asked: Reencoding | None, recipe: Recipe, store: Store | None) -> Reencoding | None:
    """What the pixels of every image go through, asked for or because they are kept so."""
    if store is None:
        if asked == "jpeg" and not can_be_jpeg(recipe):
            raise ValueError(
                f"JPEG has no channels for color_mode={recipe.color_mode!r}: leave reencoding out"
            )
        return asked
    if asked is not None:
        raise ValueError(
            "reencoding is for a loader without a cache, whose encoding decides: pass "
            f"Cache(..., encoding={asked!r})"
        )
    # Raw images are what they would be without a cache.
    return "jpeg" if store.encoding == "jpeg" else None


def _class_members(sampler: Sampler, manifest: Manifest) -> ClassMembers | None:
    """The classes of the records, where the sampling needs them."""
    if not sampler.needs_classes:
        return None
    if manifest.labels is None:
        raise ManifestError(
            f"{printable(manifest.source)}: sampling={sampler.sampling!r} needs labels, and this "
            "manifest has none. Read it with labels, or pass sampling='shuffle'."
        )
    members = ClassMembers(manifest.labels, manifest.num_classes)
    members.quotas(sampler.stored_sampling)  # refuses weights that do not fit the classes
    return members


def _check_count(name: str, value: object, or_none: str = "") -> None:
    if value is None and or_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        wanted = "a whole number, at least 1" + (f", or {or_none}" if or_none else "")
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _check_seconds(name: str, value: float | None) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < threading.TIMEOUT_MAX):
        raise ValueError(f"{name} must be a number of seconds above 0, or None, got {value!r}")


def _check_place(epoch: int, start: int) -> None:
    if epoch < 0 or start < 0:
        raise ValueError(f"epoch and start must be 0 or more, got {epoch} and {start}")
