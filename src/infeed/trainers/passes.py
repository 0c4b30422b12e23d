"""Where a trainer is in the batches of a loader, told from the little that trainers say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Literal, final

from infeed.batch_stream import BatchStream
from infeed.errors import LoaderClosedError
from infeed.loader import Loader
from infeed.order import Cursor
from infeed.stream import Batch
from infeed.trainers.epochs import Epochs


@final
class Passes:
    """The passes of one trainer over a loader, one after the other in the loader's order.

    A *pass* is what a trainer takes until it has the whole epoch. In between it may end epochs
    of its own, which are shorter (`steps_per_epoch`): the pass is *paused* then, and goes on.
    A *look* is a pass of a batch or two that the trainer takes before it trains, to learn the
    shapes: it is begun again. A pass that was left in any other way is not: the next one is the
    next epoch, whole.

    Trainers of two kinds are served. Those that say when they begin and end (`begin`, `end`,
    `ask`, `take`): see decision 0011 for what is made of it. And those that only iterate
    (`one_pass`). A pass of one kind ends a pass of the other.

    Threads belong to the loader's stream: they end a second after nobody asks any more, at
    `close()`, or when this object is collected. All methods may be called from any thread.

    Args:
        loader: where the batches come from.
        look: up to how many batches a look takes; 0 for a trainer that says nothing when it
            looks.

    Raises:
        ValueError: an epoch has no batch.
    """

    def __init__(self, loader: Loader, *, look: int) -> None:
        loader.check_not_empty()
        self.epochs = Epochs(loader.sampler, len(loader.manifest))
        self._loader = loader
        self._records = len(loader.manifest)
        self._look = look
        # `next` on the stream may wait with this lock held: the threads that make batches
        # never need it.
        self._lock = threading.RLock()
        self._stream: BatchStream | None = None
        self._stage: Literal["idle", "open", "paused"] = "idle"
        self._start = Cursor()  # of the pass under way, or of the next one
        self._length = self.epochs.steps
        self._taken = 0
        self._may_be_look = 0  # up to how many batches the pass under way may be a look
        self._was_look = False
        self._was_asked = False
        self._says_when = True
        self._opener = 0
        self._number = 0

    @property
    def cursor(self) -> Cursor:
        """The place of the next batch that is handed out."""
        with self._lock:
            return self._after(self._taken)

    @property
    def epoch(self) -> int:
        """The epoch that is being delivered, or comes next."""
        with self._lock:
            return self.epochs.number(self._start)

    @property
    def length(self) -> int:
        """The batches of the pass under way, or of the next one."""
        return self._length

    def seek(self, cursor: Cursor) -> None:
        """The next pass begins at the cursor, and is the rest of its epoch.

        Raises:
            RuntimeError: a pass is under way.
            ValueError: the cursor lies beyond the end of its epoch.
        """
        with self._lock:
            cursor = self._loader.sampler.advance(self._records, cursor, 0)
            if self._stage == "open" and self._says_when and self._taken:
                raise RuntimeError(
                    f"epoch {self.epoch} is being delivered: choose another place between "
                    "epochs. If training was interrupted, call dataset.close() first."
                )
            if not self._says_when or self._stage == "paused":
                self._stage = "idle"
            self._go_to(cursor, self.epochs.rest(cursor))
            if self._stage == "open":
                self._open_stream()

    def seek_epoch(self, epoch: int) -> None:
        """The next pass is this epoch, whole.

        Raises:
            RuntimeError: a pass is under way.
            ValueError: `epoch` is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        with self._lock:
            self.seek(self.epochs.begin(epoch, phase=self.epochs.phase(self._start)))

    def ask(self) -> int:
        """The length, for a trainer that is about to begin something."""
        with self._lock:
            self._was_asked = True
            # Who asks in the middle of a pass will begin another, which is a whole one.
            return self.epochs.steps if 0 < self._taken < self._length else self._length

    def begin(self) -> None:
        """The trainer begins to take batches: a pass, or its next epoch within a pass."""
        with self._lock:
            if self._stage == "open" or (self._stage == "paused" and self._was_asked):
                self._leave()
            if self._stage == "idle":
                # A trainer that begins in earnest has ended first, after it asked.
                self._may_be_look = self._look if self._was_asked else 0
            self._open(says_when=True)
            self._open_stream()

    def end(self) -> None:
        """The trainer ends an epoch; or it is about to begin anew, whatever was before."""
        with self._lock:
            was_asked, self._was_asked = self._was_asked, False
            if self._stage == "paused":
                self._leave()
            elif self._stage == "open" and self._says_when:
                is_whole = self._taken == self._length
                if is_whole and self._length > self._may_be_look:
                    self._finish()
                elif is_whole or was_asked:
                    self._leave()
                else:
                    self._stage = "paused"

    def settle(self) -> None:
        """The trainer is about to train: a pass that is still open was a look, or is over."""
        with self._lock:
            if self._stage != "idle":
                self._leave()

    def take(self) -> Batch | None:
        """The next batch of the pass under way; None where there is no pass, or nothing left.

        While the pass is paused only the trainer's own reading threads, which read ahead, get
        more of it; not the thread that began it.

        Raises:
            BadImageError, TooManyBadImagesError: as the loader; the next call tries again.
        """
        with self._lock:
            if self._stage == "idle" or not self._says_when or self._taken == self._length:
                return None
            if self._stage == "paused" and threading.get_ident() == self._opener:
                return None
            self._was_asked = False
            return self._next()

    def one_pass(self, *, look: int = 0) -> Iterator[Batch]:
        """The next pass, begun when its first batch is asked for.

        Args:
            look: left after no more batches than this it was a look, except when the pass
                before it was one too.

        Raises:
            LoaderClosedError: another pass has begun since.
        """
        with self._lock:
            if self._stage != "idle":
                self._leave()
            self._may_be_look = 0 if self._was_look else look
            self._open(says_when=False)
            number, length = self._number, self._length
        for taken in range(1, length + 1):
            with self._lock:
                if self._number != number or self._stage != "open":
                    raise LoaderClosedError(
                        "this pass over the data set ended when another one began, or when the "
                        "data set was closed or moved: one data set serves one loop at a time"
                    )
                batch = self._next()
                if taken == length:
                    # Not after the last batch: a trainer that knows the length asks no further.
                    self._finish()
            yield batch

    def batch(self, index: int) -> Batch:
        """Batch `index` of the pass under way, or of the next one, without moving anything.

        Raises:
            IndexError: there is no such batch.
        """
        with self._lock:
            length = self._length
            if not -length <= index < length:
                raise IndexError(f"there are {length} batches, got index {index}")
            cursor = self._after(index % length)
        epoch, number, phase = self._loader.sampler.place(self._records, cursor)
        return self._loader.batch(epoch, number, phase=phase)

    def loop(self) -> Iterator[Batch]:
        """The next pass in a stream of its own, beside all others; whole, it moves the place."""
        with self._lock:
            start, length = self._start, self._length
        stream = self._stream_at(start, length, goes_on=False).__enter__()
        try:
            for _ in range(length):
                yield next(stream)
        finally:
            stream.stop()  # without waiting: the collector may close this generator
        stream.close()
        self.seek(self._loader.sampler.advance(self._records, start, length))

    def close(self) -> None:
        """Ends the threads and drops the batches made ahead; the same pass comes next.

        Whoever waits for a batch meanwhile gets a `LoaderClosedError`.
        """
        stream = self._stream
        if stream is not None:
            stream.stop()  # or the reader would keep the lock until its batch is made
        with self._lock:
            self._stage, self._taken = "idle", 0
            self._end_stream()

    def _after(self, batches: int) -> Cursor:
        return self._loader.sampler.advance(self._records, self._start, batches)

    def _open(self, *, says_when: bool) -> None:
        self._stage = "open"
        self._was_asked = False
        self._says_when = says_when
        self._opener = threading.get_ident()
        self._number += 1

    def _finish(self) -> None:
        """The pass was delivered whole; the batches after it are already being made."""
        self._was_look = False
        self._go_to(self._after(self._taken), self.epochs.steps)
        if self._is_sequential:
            # An evaluation seldom has another at once: make nothing ready for it.
            self._end_stream()
        self._stage = "idle"

    def _leave(self) -> None:
        """Nobody will ask for the rest of the pass."""
        if self._stage == "open" and self._taken <= self._may_be_look:
            self._was_look = self._taken > 0
            self._go_to(self._start, self._length)
        else:
            self._was_look = False
            self._go_to(self.epochs.next_begin(self._after(self._taken)), self.epochs.steps)
        self._stage = "idle"

    def _go_to(self, start: Cursor, length: int) -> None:
        if start != self._after(self._taken):
            self._end_stream()
        self._start, self._length, self._taken = start, length, 0

    def _next(self) -> Batch:
        self._open_stream()
        assert self._stream is not None
        try:
            batch = next(self._stream)
        except BaseException:
            self._end_stream()
            raise
        self._taken += 1
        return batch

    def _open_stream(self) -> None:
        if self._stream is None and self._taken < self._length:
            rest = self._length - self._taken
            goes_on = not self._is_sequential
            stream = self._stream_at(self._after(self._taken), rest, goes_on=goes_on)
            self._stream = stream.__enter__()

    def _stream_at(self, cursor: Cursor, length: int, *, goes_on: bool) -> BatchStream:
        """A stream from there on, of at least `length` batches; of no more where it can be."""
        epoch, number, phase = self._loader.sampler.place(self._records, cursor)
        left = self._loader.steps(epoch, phase=phase) - number
        if not goes_on and length == left:
            return self._loader.epoch(epoch, number, phase=phase)
        return self._loader.endless(epoch, number, phase=phase)

    @property
    def _is_sequential(self) -> bool:
        return self._loader.sampler.sampling == "sequential"

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
