"""`OpenStore`: the segments of one store, open, with everything that is known of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from infeed.cache.counts import Counter
from infeed.cache.encoding import decode_jpeg_into
from infeed.cache.filling import Filling
from infeed.cache.folder import StoreName, check_version
from infeed.cache.format import FormatError
from infeed.cache.reading import CutOffError, read_images
from infeed.cache.segment import erase
from infeed.cache.segments import Segments
from infeed.cache.settings import Cache
from infeed.cache.sources import Read, Source, Sources
from infeed.manifest import Manifest
from infeed.read import Storage
from infeed.sample import Recipe, Scratch

_CLOSING_SECONDS: Final = 1.0


class _Image(NamedTuple):
    """An image on its way into a segment."""

    source: Source
    key: bytes
    payload: npt.NDArray[np.uint8]
    checksum: int


@final
class OpenStore:
    """What `Store` works with from its first use to its `close`.

    Args:
        cache: where, and how.
        name: of the store.
        recipe: the form of the images.
        manifest: what exists.
        storage: where the source images are.
        counter: counts what happens.
        say: told what went wrong: (what it is about, text); says each thing once.
        memory: bytes that could keep files in memory; None: not known.
    """

    def __init__(
        self,
        cache: Cache,
        name: StoreName,
        *,
        recipe: Recipe,
        manifest: Manifest,
        storage: Storage,
        counter: Counter,
        say: Callable[[str, str], None],
        memory: int | None,
    ) -> None:
        self.folder = cache.folder / name.folder
        self._recipe = recipe
        self._images = len(manifest)
        self._is_raw = name.encoding == "raw"
        self._counter = counter
        self._say = say
        self._lock = threading.RLock()
        image_bytes = recipe.height * recipe.width * recipe.channels
        slot_bytes = image_bytes if self._is_raw else 0
        self._segments = Segments(
            self.folder, name.store_id, slot_bytes=slot_bytes, memory=memory, say=say
        )
        self._sources = Sources(manifest, storage, cache.identity)
        self._filling = Filling(
            cache,
            name,
            self.folder,
            slot_bytes=slot_bytes,
            image_bytes=image_bytes,
            say=say,
        )
        self._is_closed = False
        self._is_refused = False  # whether the folder is not, or no more, for us to read
        try:
            check_version(cache.folder)
            self._segments.look()
        except (FormatError, OSError) as error:
            self._is_refused = True
            self._filling.fail(error)

    def __len__(self) -> int:
        return len(self._segments.index)

    @property
    def known(self) -> int:
        """How many records of the manifest it is known to hold."""
        return self._sources.known

    def load(
        self,
        positions: Sequence[int],
        rows: npt.NDArray[np.uint8],
        scratch: Scratch,
        read: Read,
    ) -> list[Source]:
        """As `Store.load`."""
        entries, missing = self._sources.find(positions, self._find, read)
        if missing and self._glance():
            entries, missing = self._sources.find(positions, self._find, read)
        indexes = np.flatnonzero(entries >= 0)
        if len(indexes):
            for index in self._read(entries[indexes], indexes, rows, scratch):
                missing.append(self._sources.source(index, positions[index], read))
        self._counter.add(hits=len(positions) - len(missing), misses=len(missing))
        return missing

    def keep(
        self,
        sources: Sequence[Source],
        payloads: Sequence[npt.NDArray[np.uint8]],
        checksums: Sequence[int],
    ) -> None:
        """As `Store.keep`."""
        kept = [
            _Image(source, key, payload, each)
            for source, key, payload, each in zip(
                sources, self._sources.keys(sources), payloads, checksums, strict=True
            )
            if key is not None
        ]
        not_stored, by_others = len(sources) - len(kept), 0
        if kept and self._glance():
            with self._lock:
                left = [image for image in kept if self._segments.index.find(image.key) < 0]
            by_others, kept = len(kept) - len(left), left
        stored = 0
        while stored < len(kept):
            count = self._put(kept[stored:])
            if not count:
                break
            stored += count
        not_stored += len(kept) - stored
        self._counter.add(stored=stored, stored_by_others=by_others, not_stored=not_stored)

    def close(self) -> None:
        """Closes the files. Whoever still uses the store gets no more images from it.

        They stay open where a thread is inside a call that does not come back.
        """
        self._is_closed = True
        self._is_refused = True
        if self._lock.acquire(timeout=_CLOSING_SECONDS):
            try:
                self._filling.close()
                self._segments.close()
            finally:
                self._lock.release()

    def abandon(self) -> None:
        """Closes the files in a forked process, without touching what is the parent's."""
        self._filling.abandon()
        self._segments.close()

    def _put(self, images: Sequence[_Image]) -> int:
        """Stores the first of the images, as many as one segment takes; 0: no more."""
        with self._lock:
            if self._is_closed:
                return 0
            slots, writer = self._filling.set_aside(
                [image.payload.nbytes for image in images],
                missing=lambda: self._images - self.known,
            )
            if writer is None:
                return 0
            segment = self._segments.number(writer.segment)
        images = images[: len(slots)]
        sources, keys, payloads, checksums = zip(*images, strict=True)
        try:
            writer.put(slots, keys, payloads, checksums)
        except OSError as error:
            with self._lock:
                self._filling.fail(error)
            return 0
        with self._lock:
            entries = self._segments.add(segment, slots, keys, checksums)
            self._sources.remember(
                [source.position for source in sources],
                entries,
                [source.stamp for source in sources],
            )
        return len(images)

    def _find(self, key: bytes) -> int:
        with self._lock:
            index = self._segments.index
            entry = index.find(key)
            if entry < 0 and not self._is_refused:
                self._segments.look_if_due()
                entry = index.find(key)
            return entry

    def _glance(self) -> bool:
        """Sees what others have stored in the last moments; whether there was anything."""
        with self._lock:
            return not self._is_refused and self._segments.glance(self._filling.writes)

    def _read(
        self,
        entries: npt.NDArray[np.int64],
        indexes: npt.NDArray[np.int64],
        rows: npt.NDArray[np.uint8],
        scratch: Scratch,
    ) -> list[int]:
        """Reads entries into rows; gives the numbers of the rows whose entries were not right.

        Args:
            entries: numbers, in the index.
            indexes: the row of each.
            rows: of the batch.
            scratch: of this thread.
        """
        index = self._segments.index
        order = np.lexsort((index.offset[entries], index.segment[entries]))
        entries, indexes = entries[order], indexes[order]
        if self._is_raw:
            pixels = rows.reshape(len(rows), -1)
            buffers = [pixels[i] for i in indexes.tolist()]
        else:
            ends = np.cumsum(index.length[entries])
            block = scratch.decoded(int(ends[-1]))
            buffers = np.split(block[: ends[-1]], ends[:-1])
        failed = read_images(self._segments, entries, buffers)
        if not self._is_raw:
            for i, (row, data) in enumerate(zip(indexes.tolist(), buffers, strict=True)):
                if i not in failed and not self._decodes(data, rows[row]):
                    failed[i] = None
        for i, error in failed.items():
            self._drop(int(entries[i]), error)
        return [int(indexes[i]) for i in failed]

    def _decodes(self, data: npt.NDArray[np.uint8], row: npt.NDArray[np.uint8]) -> bool:
        try:
            decode_jpeg_into(data, self._recipe, row)
        except ValueError:
            return False
        return True

    def _drop(self, entry: int, error: OSError | None = None) -> None:
        """Forgets an entry whose image could not be had.

        Where the image was not right, and not only unreadable, it is forgotten on disk too, if that
        may be written.

        Args:
            entry: its number.
            error: why its bytes could not be had; None where they are not right.
        """
        with self._lock:
            index = self._segments.index
            if self._is_closed or not index.length[entry]:
                return
            number = int(index.segment[entry])
            segment = self._segments[number]
            row, kept = int(index.row[entry]), int(index.checksum[entry])
            index.remove(entry)
        self._counter.add(damaged=1)
        why = "an image in it is not what was stored" if error is None else error.strerror
        self._say(
            "damaged",
            f"{segment.path} is damaged: {why}. Such images are decoded again; `infeed cache "
            "verify` finds them all.",
        )
        if error is not None and not isinstance(error, CutOffError):
            return
        with contextlib.suppress(OSError):  # read-only, or gone: it is found again next time
            if erase(segment, row, kept):
                with self._lock:
                    self._segments.free(number, row)
                    self._filling.take_back(segment.path, row)
