"""A training run from data sets to a folder with everything that serving needs."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infeed.cache import Counts, Encoding
from infeed.loader import Loader
from infeed.order import Cursor
from infeed.stream import BadImage, Journal, Quarantine
from infeed.trainers.keras.backup import BackupAndRestore
from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.epoch_log import EpochLog
from infeed.trainers.keras.framework import keras
from infeed.trainers.keras.monitor import EPOCH_LOGS, InputMonitor
from infeed.trainers.keras.progress import Progress, ProgressCallback
from infeed.trainers.resources import peak_rss_mb
from infeed.trainers.run_data import ManifestSource, RunData
from infeed.trainers.run_folder import (
    BACKUP_FOLDER,
    BAD_IMAGES_FILES,
    CLASSES_FILE,
    LOG_FILE,
    MODEL_FILE,
    RECIPE_FILE,
    RUN_FILE,
    has_backup,
    locked,
)
from infeed.version import __version__
from infeed.whole_file import remove_partial_files, write_json, write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheSummary:
    """What the cache of a run did, in this call, for training and validation together.

    Attributes:
        encoding: how it keeps images.
        hits: images that came from it.
        misses: images that had to be decoded.
        stored: images that were put into it.
        stored_by_others: images that another process has stored while they were decoded.
        not_stored: images that were decoded and could not be put into it.
        damaged: kept images that were not what was stored; decoded again.
    """

    encoding: Encoding
    hits: int
    misses: int
    stored: int
    stored_by_others: int
    not_stored: int
    damaged: int

    @classmethod
    def of(cls, loaders: Sequence[Loader]) -> CacheSummary | None:
        """The sum over loaders; None where the first has no cache."""
        choice = loaders[0].cache_choice
        if choice is None:
            return None
        counts = sum((loader.cache_counts for loader in loaders), Counts())
        return cls(choice.encoding, **asdict(counts))


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a run did.

    Attributes:
        epochs: epochs trained; like all counts that follow, of the whole run, however often it
            was interrupted.
        steps: steps trained, over all epochs.
        images_seen: images trained, over all epochs.
        resumed_at: how many of these steps were trained before this call, which went on there.
        seconds: wall time of this call, validation and compilation included.
        images_per_second: training speed from the end of the first step on, without
            validation.
        data_wait_fraction: the share of that time in which training stood still for want of a
            batch.
        bad_images: different images of both sets that could not be had.
        bad_reasons: how many for each reason.
        recovered_images: different images that were had in spite of a fault in their files.
        bad: the bad images, with reasons; training first; at most a thousand of each set.
        peak_rss_mb: the process' largest resident memory, in MiB.
        metrics: of the last epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy`, or
            whatever the model was compiled with.
        cache: what the cache did; None without one.
        verdict: what held training back in the last epoch, and what would help, as
            `Verdict.to_json`; None where nothing could be measured.
    """

    epochs: int
    steps: int
    images_seen: int
    resumed_at: int
    seconds: float
    images_per_second: float
    data_wait_fraction: float
    bad_images: int
    bad_reasons: dict[str, int]
    recovered_images: int
    bad: tuple[BadImage, ...]
    peak_rss_mb: float
    metrics: dict[str, float]
    cache: CacheSummary | None = None
    verdict: dict[str, Any] | None = None


def train_model(
    model: Any,
    train: ImageDataset,
    validation: ImageDataset | None,
    *,
    epochs: int,
    out: Path,
    source: ManifestSource | None = None,
    backup_every: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TrainingSummary:
    """Trains a compiled model and writes the run into the folder `out`.

    From the beginning `out` holds what the run is fed with (`data.json`), so that any batch of it
    can be made again. After every epoch it holds the model of that epoch (`model.keras`), its
    class names (`class_names.json`), the form of its images (`recipe.json`), the metrics of each
    epoch (`log.csv`) and, at the end, the summary (`run.json`); a line for each bad image, as soon
    as it is met (`bad_images.jsonl`, `val_bad_images.jsonl`). When the next epoch begins, and
    every `backup_every` steps, the state of the training is backed up (`backup/`).

    If `out` holds a backup, training goes on from there: model and data sets must be made as they
    were then.

    Args:
        model: a compiled `keras.Model` over batches of `train`.
        train: the training data; closed at the end.
        validation: the whole set is evaluated after each epoch; closed at the end.
        epochs: from 1; of the whole run.
        out: a folder; must exist, and hold no other run than this one.
        source: where the manifest of `train` comes from; None, for one that was made in memory,
            leaves `data.json` out.
        backup_every: back up also after so many steps, not only after every epoch.
        report: told of progress, a few times a second.

    Raises:
        BlockingIOError: another process is training into `out`; nothing of it is touched.
        ResumeError: `out` holds a backup that cannot be continued so; names what differs.
        TooManyBadImagesError: more bad images than the data sets allow.
        OSError: `out` cannot be written.
    """
    begin = time.perf_counter()
    monitor = InputMonitor(train, verbose=0)
    progress = ProgressCallback(train, monitor, report)
    backup = BackupAndRestore(
        out / BACKUP_FOLDER, backup_every or "epoch", delete_checkpoint=False, dataset=train
    )
    history: dict[str, list[float]] = {}
    sets = [train] if validation is None else [train, validation]
    quarantines = [each.loader.quarantine for each in sets]
    with contextlib.ExitStack() as closing:
        closing.enter_context(locked(out))
        if not has_backup(out):
            for name in BAD_IMAGES_FILES:  # of a run that came to nothing
                (out / name).unlink(missing_ok=True)
            _list_bad_images(out, quarantines)
        closing.enter_context(train)
        if validation is not None:
            closing.enter_context(validation)
        history = model.fit(
            train,
            validation_data=validation,
            epochs=epochs,
            verbose=0,
            callbacks=[
                monitor,
                EpochLog(out / LOG_FILE),
                _SaveEveryEpoch(out / MODEL_FILE),
                backup,
                # After the backup, which refuses what is not this run.
                _DescribeRun(out, train, source),
                _ListBadImages(out, quarantines),
                # Last, so that it has seen everything when it tells.
                progress,
            ],
        ).history
    seconds = time.perf_counter() - begin
    summary = TrainingSummary(
        epochs=epochs,
        steps=backup.resumed_at + progress.steps,
        images_seen=_samples_before(train.loader, train.cursor),
        resumed_at=backup.resumed_at,
        seconds=seconds,
        # A run of one step has nothing behind the step that compiles.
        images_per_second=monitor.total.images_per_second or progress.images / seconds,
        data_wait_fraction=monitor.total.wait_fraction,
        bad_images=sum(each.count() for each in quarantines),
        bad_reasons=dict(sum((Counter(each.reasons) for each in quarantines), Counter())),
        recovered_images=sum(each.count_recovered() for each in quarantines),
        bad=tuple(image for each in quarantines for image in each.bad),
        peak_rss_mb=peak_rss_mb(),
        metrics={
            name: float(values[-1]) for name, values in history.items() if name not in EPOCH_LOGS
        },
        cache=CacheSummary.of([each.loader for each in sets]),
        verdict=None if monitor.verdict is None else monitor.verdict.to_json(),
    )
    write_json(
        out / RUN_FILE,
        {
            "infeed": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "sampler": train.loader.sampler.to_json(),
            **asdict(summary),
            # JSON has no NaN, which a loss may become.
            "metrics": {k: v if math.isfinite(v) else None for k, v in summary.metrics.items()},
        },
    )
    return summary


def seed_everything(seed: int) -> None:
    """Seeds the framework's own randomness: initial weights, dropout."""
    # Keras takes 32 bits.
    keras.utils.set_random_seed(seed % 2**32)


def _samples_before(loader: Loader, cursor: Cursor) -> int:
    """How many samples a run over all shards has trained when it has come to a place."""
    sampler, n = loader.sampler, len(loader.manifest)
    dropped = n % sampler.global_batch_size if sampler.remainder == "drop" else 0
    return cursor.epoch * (n - dropped) + cursor.sample


class _DescribeRun(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Writes what the run is, when it begins and when it goes on."""

    def __init__(self, out: Path, train: ImageDataset, source: ManifestSource | None) -> None:
        super().__init__()
        self._out, self._train, self._source = out, train, source

    def on_train_begin(self, logs: Any = None) -> None:
        remove_partial_files(self._out)
        # It tells of fewer epochs, where a run that was finished is trained on.
        (self._out / RUN_FILE).unlink(missing_ok=True)
        write_json(self._out / CLASSES_FILE, self._train.class_names)
        write_json(self._out / RECIPE_FILE, self._train.loader.recipe.to_json())
        if self._source is not None:
            steps = self._train.steps_per_epoch
            data = RunData.of(self._train.loader, self._source, steps_per_epoch=steps)
            data.write(self._out)


def _list_bad_images(out: Path, quarantines: Sequence[Quarantine]) -> None:
    for name, quarantine in zip(BAD_IMAGES_FILES, quarantines, strict=False):
        quarantine.write_to(Journal(out / name))


class _ListBadImages(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Lists the bad images of a run that goes on, once it is known that it may, and from where.

    Keras has taken a batch by then, to look at it.
    """

    def __init__(self, out: Path, quarantines: Sequence[Quarantine]) -> None:
        super().__init__()
        self._out, self._quarantines = out, quarantines

    def on_train_begin(self, logs: Any = None) -> None:
        _list_bad_images(self._out, self._quarantines)


class _SaveEveryEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the model of the last whole epoch on disk, never half of one.

    A disk that is full in between is no reason to stop; at the end it is.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._is_saved = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._is_saved = False
        try:
            self._save()
        except OSError as error:
            logger.warning("The model of epoch %d is not saved: %s", epoch + 1, error)

    def on_train_end(self, logs: Any = None) -> None:
        if not self._is_saved:
            self._save()

    def _save(self) -> None:
        write_whole(self._path, self.model.save)
        self._is_saved = True
