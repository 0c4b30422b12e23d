"""`Store`: the kept images of one recipe, as a loader uses them."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from infeed.cache.counts import Counter, Counts
from infeed.cache.folder import StoreName
from infeed.cache.open_store import OpenStore
from infeed.cache.sets import Use
from infeed.cache.settings import Cache, Encoding
from infeed.cache.sources import Read, Source
from infeed.cache.space import free_memory
from infeed.errors import StorageError
from infeed.manifest import Manifest
from infeed.printable import printable
from infeed.process_lock import ProcessLock
from infeed.read import Storage
from infeed.sample import Recipe, Scratch, decoder_versions

logger = logging.getLogger(__name__)


@final
class Store:
    """The kept images of one recipe in one cache folder.

    Whatever happens to the folder, `load` gives the right pixels or none, and neither method
    raises for the cache's sake: what went wrong is logged once, counted, and done without.

    Life cycle: opened by its first use, closed by `close`, by its collection or at exit; used
    again after `close`, it opens again. Safe for several threads, but for `close`.

    Args:
        cache: where, and how.
        encoding: of the images.
        recipe: their form.
        manifest: what exists; 24 bytes a record are remembered of it, and 50 an image.
        storage: where the source images are.
    """

    def __init__(
        self,
        cache: Cache,
        encoding: Encoding,
        *,
        recipe: Recipe,
        manifest: Manifest,
        storage: Storage,
    ) -> None:
        self.cache = cache
        self.encoding = encoding
        self.name = StoreName.of(recipe, decoder_versions(), encoding)
        self.folder: Path = cache.folder / self.name.folder
        self._recipe = recipe
        self._manifest = manifest
        self._storage = storage
        self._counter = Counter()
        self._say = _Complaints()
        self._lock = ProcessLock()
        self._opened: OpenStore | None = None
        self._use: Use | None = None
        self._process = os.getpid()
        self._closer: weakref.finalize[[OpenStore, Use, int], Store] | None = None

    def __len__(self) -> int:
        """How many images it holds, of any manifest."""
        return len(self._open())

    @property
    def counts(self) -> Counts:
        """What it has done so far."""
        return self._counter.read()

    @property
    def complaints(self) -> dict[str, str]:
        """What went wrong, by what it is about: what it has logged.

        `limit`: no more is stored, since as much as was allowed is there; `stop`: no more is
        stored, for another reason; `damaged`, `segment`, `look`: a file that is not as it should
        be.
        """
        return self._say.said()

    @property
    def is_warm(self) -> bool:
        """Whether it is open and is known to hold most images of the manifest."""
        opened = self._opened
        return opened is not None and 10 * opened.known >= 9 * len(self._manifest)

    def load(
        self,
        positions: Sequence[int],
        rows: npt.NDArray[np.uint8],
        scratch: Scratch,
        read: Read | None = None,
    ) -> list[Source]:
        """Fills the rows of the records that it has; gives the sources that it has not.

        Args:
            positions: records.
            rows: uint8 (records, height, width, channels), C-contiguous. A row whose record is
                missing is undefined.
            scratch: of the calling thread.
            read: the bytes of a record, for images that are known by their content; None where
                they cannot be had. By default the storage is asked.
        """
        return self._open().load(positions, rows, scratch, read or self._read)

    def keep(
        self,
        sources: Sequence[Source],
        payloads: Sequence[npt.NDArray[np.uint8]],
        checksums: Sequence[int],
    ) -> None:
        """Stores images that `load` did not have.

        Args:
            sources: from `load`.
            payloads: the bytes of each, C-contiguous uint8: its pixels, or its JPEG.
            checksums: `checksum` of each: computed best while it is in the processor's cache.
        """
        self._open().keep(sources, payloads, checksums)

    def close(self) -> None:
        """Closes its files, and gives back the space that it reserved and did not use."""
        with self._lock.here():
            self._leave_parent()
            opened, self._opened = self._opened, None
            use, self._use = self._use, None
            if self._closer is not None:
                self._closer.detach()
                self._closer = None
        if opened is not None and use is not None:
            _close(opened, use, self._process)

    def _read(self, position: int) -> bytes | None:
        try:
            return self._storage.read(self._manifest.uri(position))
        except StorageError:
            return None

    def _open(self) -> OpenStore:
        # In this order: what is read after the process is of this process.
        if self._process == os.getpid():
            opened = self._opened
            if opened is not None:
                return opened
        with self._lock.here():
            self._leave_parent()
            if self._opened is None:
                self._opened = OpenStore(
                    self.cache,
                    self.name,
                    recipe=self._recipe,
                    manifest=self._manifest,
                    storage=self._storage,
                    counter=self._counter,
                    say=self._say,
                    memory=free_memory(),
                )
                self._use = Use(self.folder, self._manifest, self._counter)
                self._closer = weakref.finalize(self, _close, self._opened, self._use, os.getpid())
            return self._opened

    def _leave_parent(self) -> None:
        """In a forked process: what is open is the parent's. Under the lock of this process."""
        if self._process == os.getpid():
            return
        if self._opened is not None:
            self._opened.abandon()
        if self._closer is not None:
            self._closer.detach()
        self._opened = self._use = self._closer = None
        # Last: from now on other threads believe what is open.
        self._process = os.getpid()


class _Complaints:
    """Says what went wrong, each thing once. Apart, so that nothing holds on to the store."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def said(self) -> dict[str, str]:
        """What was said so far."""
        return self._said.copy()

    def __call__(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said[about] = text
            logger.warning("%s", printable(text))


def _close(opened: OpenStore, use: Use, process: int) -> None:
    """Closes a store and notes its use, unless this process was forked off that which opened it."""
    if os.getpid() == process:
        opened.close()
        use.write()
    else:
        opened.abandon()
