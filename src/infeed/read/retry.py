"""`RetryingStorage`: reads again what failed for a reason that may pass."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn, final

from infeed.errors import LoaderClosedError, StorageError
from infeed.printable import printable, show
from infeed.read.storage import StampedStorage, Storage
from infeed.read.transient import is_transient

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 8
DEADLINE_SECONDS: Final = 10.0
FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 2.0

# So many reads given up, with none that succeeded between them, and the storage counts as down.
_DOWN_AFTER: Final = 8


@final
class RetryingStorage:
    """Another storage, whose failures that may pass are waited out.

    A read that fails for such a reason is tried again after a random time, up to 0.1 s at first
    and twice as long each time ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS
    Architecture Blog, 2015), until it succeeds, `attempts` are used up, or the next wait would
    end after the deadline. Whatever else fails is raised at once. When eight reads in a row had to
    be given up, the storage counts as down: each further read is tried once, until one succeeds,
    so that a run on a broken disk ends soon.

    Args:
        storage: where the bytes come from. May raise `StorageError`, or any `OSError`, which
            becomes one.
        attempts: how often a file is tried, at least 1.
        deadline_seconds: how long, at most; not counting what the last attempt itself takes.
        first_wait_seconds: the longest wait before the second attempt.
        longest_wait_seconds: no wait is longer.
        wait: waits for so many seconds; what is true of its result ends the read, as with
            `threading.Event.wait`. It is called from many threads.
        clock: seconds that never go back.

    Attributes:
        storage: the other storage.

    Raises:
        ValueError: a number that cannot be.

    It has the methods of `StampedStorage` where the other storage has them. Waits are drawn from
    the system's randomness and have no part in the order of images.

    >>> from infeed.read import MemoryStorage
    >>> RetryingStorage(MemoryStorage({"a.jpg": b"..."})).read("a.jpg")
    b'...'
    """

    def __init__(
        self,
        storage: Storage,
        *,
        attempts: int = ATTEMPTS,
        deadline_seconds: float = DEADLINE_SECONDS,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
        longest_wait_seconds: float = LONGEST_WAIT_SECONDS,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            raise ValueError(f"attempts must be a whole number, at least 1, got {attempts!r}")
        for name, value in (
            ("deadline_seconds", deadline_seconds),
            ("first_wait_seconds", first_wait_seconds),
            ("longest_wait_seconds", longest_wait_seconds),
        ):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number of seconds, 0 or more, got {value!r}")
        self.storage = storage
        self._attempts = attempts
        self._deadline_seconds = deadline_seconds
        self._first_wait_seconds = first_wait_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._wait = wait
        self._clock = clock
        self._random = random.SystemRandom()
        self._lock = threading.Lock()
        self._given_up = 0  # reads, since the last one that succeeded
        self._read = storage.read
        if isinstance(storage, StampedStorage):
            # Where the other has them only: a cache asks whether they are there.
            vars(self).update(name=storage.name, stamps=storage.stamps)

    def read(self, uri: str) -> bytes:
        """The file's content, as the other storage has it.

        Raises:
            StorageError: with the reason of the other storage; `io` where the last of several
                attempts failed, and how many there were in its text.
            LoaderClosedError: `wait` said that the reader is gone.
        """
        start = self._clock()
        try:
            data = self._read(uri)
        except (StorageError, OSError) as error:
            data = self._read_again(uri, error, start)
        if self._given_up:
            self._note_success()
        return data

    def _read_again(self, uri: str, error: StorageError | OSError, start: float) -> bytes:
        """The content after a first failure, of an attempt that began at `start`."""
        attempts, longest = 1, self._first_wait_seconds
        while True:
            if not _may_pass(error):
                raise _as_storage_error(uri, error) from _cause(error)
            seconds = self._random.uniform(0, min(longest, self._longest_wait_seconds))
            elapsed = self._clock() - start
            is_late = elapsed + seconds > self._deadline_seconds
            if is_late or attempts >= self._attempts or self._given_up >= _DOWN_AFTER:
                self._give_up(uri, error, attempts, elapsed)
            if self._wait(seconds):
                raise LoaderClosedError(f"{show(uri)} is not tried again: nobody waits for it")
            attempts += 1
            longest *= 2
            try:
                return self._read(uri)
            except (StorageError, OSError) as another:
                error = another

    def _give_up(
        self, uri: str, error: StorageError | OSError, attempts: int, elapsed: float
    ) -> NoReturn:
        with self._lock:
            self._given_up += 1
            given_up = self._given_up
        if given_up == _DOWN_AFTER:
            logger.warning(
                "%d reads in a row were given up, the last one of %s: further ones are tried only "
                "once until one succeeds",
                _DOWN_AFTER,
                show(uri),
            )
        text = str(_as_storage_error(uri, error))
        if self._attempts > 1:
            tried = "once" if attempts == 1 else f"{attempts} times"
            why = ", as so many failed before it" if given_up > _DOWN_AFTER else ""
            text = f"{text} (tried {tried}, for {elapsed:.1f} s{why})"
        raise StorageError(text, reason="io", is_transient=True) from _cause(error)

    def _note_success(self) -> None:
        with self._lock:
            self._given_up = 0

    def __repr__(self) -> str:
        return f"RetryingStorage({self.storage!r})"


def _may_pass(error: StorageError | OSError) -> bool:
    if isinstance(error, OSError):
        return is_transient(error)
    if error.reason != "io":
        return False
    cause = error.__cause__
    return error.is_transient or (isinstance(cause, OSError) and is_transient(cause))


def _as_storage_error(uri: str, error: StorageError | OSError) -> StorageError:
    """What a storage should have raised."""
    if isinstance(error, StorageError):
        return error
    what = printable(error.strerror or str(error) or type(error).__name__)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return StorageError(f"no file {show(uri)} ({what})", reason="missing")
    if isinstance(error, IsADirectoryError):
        return StorageError(f"{show(uri)} is a folder, not a file ({what})", reason="not_a_file")
    return StorageError(
        f"{show(uri)} cannot be read: {what}", reason="io", is_transient=is_transient(error)
    )


def _cause(error: StorageError | OSError) -> BaseException | None:
    return error.__cause__ if isinstance(error, StorageError) else error
