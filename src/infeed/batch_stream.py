"""A stream of batches in order, and the life of its threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self, final

from infeed.batch_work import BatchWork, Tool
from infeed.errors import LoaderClosedError
from infeed.sample import use_one_thread_per_call
from infeed.stages import Stages
from infeed.stream.batch import Batch
from infeed.stream.window import Window


@final
class BatchStream(Iterator[Batch]):
    """Batches in order, made ahead by threads that live as long as the `with` block.

    Life cycle: made by `Loader.epoch` or `Loader.endless`; `__enter__` starts the threads;
    iterating delivers; leaving the block, for whatever reason, ends the threads and waits for
    the part that each has in hand: up to 8 images, 64 where they are only copied from a cache.
    """

    def __init__(
        self,
        works: Iterator[BatchWork],
        stages: Stages,
        *,
        threads: int,
        depth: int,
        delivered: Callable[[Batch], None],
    ) -> None:
        self._works = works
        self._stages = stages
        self._threads = threads
        self._depth = depth
        self._delivered = delivered
        self._window: Window[Tool, Batch] | None = None

    def __enter__(self) -> Self:
        if self._window is not None:
            raise LoaderClosedError("a stream of batches can be opened once: make another one")
        use_one_thread_per_call()
        stages = self._stages
        # Handed over: the generator has memory for batches, which ends with the threads.
        works, self._works = self._works, iter(())
        self._window = Window(
            works,
            lambda: Tool(stages),
            threads=self._threads,
            depth=self._depth,
            meter=stages.meter,
            watch_of=lambda tool: tool.watch,
            timeout_seconds=stages.read_timeout_seconds,
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
            StalledError: the cache has not answered for `read_timeout_seconds`.
        """
        if self._window is None:
            raise LoaderClosedError(
                "batches are made inside a with block: "
                "`with loader.epoch(0) as batches: for batch in batches: ...`"
            )
        batch = self._window.next()
        self._delivered(batch)
        return batch

    def close(self) -> None:
        """Ends the threads and waits for them; logs how many bad images there were, if any.

        May be called more than once.
        """
        if self._window is not None:
            self._window.close()
            self._stages.quarantine.tell()

    def stop(self) -> None:
        """Tells the threads to end, without waiting for the part that each has in hand."""
        if self._window is not None:
            self._window.stop()
