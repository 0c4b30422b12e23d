"""`OpenStore`: the segments of one store, open, with everything that is known of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from infeed.cache.counts import Counter
from infeed.cache.encoding import decode_jpeg_into
from infeed.cache.filling import Filling
from infeed.cache.folder import StoreName, check_version, segment_paths
from infeed.cache.format import KEY_BYTES, FormatError, checksum, valid_rows
from infeed.cache.index import Index
from infeed.cache.segment import Segment, erase
from infeed.cache.settings import Cache
from infeed.cache.sources import Source, Sources
from infeed.manifest import Manifest
from infeed.read import Storage
from infeed.sample import Recipe, Scratch

# How often a process that misses looks for what others have stored meanwhile.
_REFRESH_SECONDS: Final = 2.0

# Of a segment that another process writes to, so many rows behind the last known are looked at
# before anything is decoded or stored.
_GLANCED_ROWS: Final = 64


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
        self._store_id = name.store_id
        self._recipe = recipe
        self._images = len(manifest)
        self._image_bytes = recipe.height * recipe.width * recipe.channels
        self._is_raw = name.encoding == "raw"
        self._counter = counter
        self._say = say
        self._memory = memory
        self._is_larger_than_memory = False
        self._lock = threading.RLock()
        self._segments: list[Segment] = []
        self._seen: list[npt.NDArray[np.bool_]] = []  # the rows of each that are in the index
        self._numbers: dict[bytes, int] = {}  # of each, by its id
        self._left_out: set[Path] = set()
        self._index = Index()
        self._sources = Sources(manifest, storage, cache.identity)
        self._filling = Filling(
            cache,
            name,
            self.folder,
            slot_bytes=self._image_bytes if self._is_raw else 0,
            image_bytes=self._image_bytes,
            say=say,
        )
        self._looked = 0.0
        self._changed = 0  # when the folder was, the last time that it was looked at
        self._is_closed = False
        self._is_refused = False  # whether the folder is not for us to read
        try:
            check_version(cache.folder)
            self._look()
        except (FormatError, OSError) as error:
            self._is_refused = True
            self._filling.fail(error)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def known(self) -> int:
        """How many records of the manifest it is known to hold."""
        return self._sources.known

    def load(
        self, positions: Sequence[int], rows: npt.NDArray[np.uint8], scratch: Scratch
    ) -> list[Source]:
        """As `Store.load`."""
        entries, missing = self._sources.find(positions, self._find)
        if missing and self._glance():
            entries, missing = self._sources.find(positions, self._find)
        indexes = np.flatnonzero(entries >= 0)
        if len(indexes):
            for index in self._read(entries[indexes], indexes, rows, scratch):
                missing.append(self._sources.source(index, positions[index]))
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
                left = [image for image in kept if self._index.find(image.key) < 0]
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
        """Closes the files. Whoever still uses the store gets no more images from it."""
        with self._lock:
            self._is_closed = True
            self._filling.close()
            for segment in self._segments:
                segment.close()

    def abandon(self) -> None:
        """Closes the files in a forked process, without touching what is the parent's."""
        self._filling.abandon()
        for segment in self._segments:
            segment.close()

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
            segment = self._number(writer.segment)
        images = images[: len(slots)]
        sources, keys, payloads, checksums = zip(*images, strict=True)
        try:
            writer.put(slots, keys, payloads, checksums)
        except OSError as error:
            with self._lock:
                self._filling.fail(error)
            return 0
        rows, offsets, lengths = zip(*slots, strict=True)
        with self._lock:
            entries: Sequence[int] = [-1]
            if self._seen[segment][rows[0]]:
                # A look at the folder was faster than this.
                entries = [self._index.find(key) for key in keys]
            if min(entries) < 0:
                self._seen[segment][list(rows)] = True
                entries = self._index.add(
                    keys,
                    segment=segment,
                    rows=rows,
                    offsets=offsets,
                    lengths=lengths,
                    checksums=checksums,
                )
            self._sources.remember(
                [source.position for source in sources],
                entries,
                [source.stamp for source in sources],
            )
        return len(images)

    def _find(self, key: bytes) -> int:
        with self._lock:
            entry = self._index.find(key)
            is_due = time.monotonic() - self._looked > _REFRESH_SECONDS
            if entry < 0 and is_due and not self._is_refused:
                try:
                    self._look()
                except OSError as error:
                    self._say("look", f"{self.folder} cannot be listed: {error.strerror}")
                entry = self._index.find(key)
            return entry

    def _glance(self) -> bool:
        """Sees what others have stored in the last moments; whether there was anything.

        Processes that go through the same images in the same order would else all store each.
        """
        with self._lock:
            if self._is_closed or self._is_refused:
                return False
            before = len(self._index)
            with contextlib.suppress(OSError):  # the next look says what is wrong
                changed = self.folder.stat().st_mtime_ns
                if changed != self._changed:
                    self._changed = changed
                    self._look()
                for number, segment in enumerate(self._segments):
                    if not self._seen[number].all() and not self._filling.writes(segment):
                        self._add_rows(number, _GLANCED_ROWS)
            return len(self._index) > before

    def _look(self) -> None:
        """Reads what is new in the folder."""
        self._looked = time.monotonic()
        if self._is_closed:
            return
        for path in segment_paths(self.folder):
            if path in self._left_out:
                continue
            number = self._numbers.get(_id_in(path.stem), -1)
            if number < 0:
                number = self._open(path)
            if number >= 0 and not self._seen[number].all():
                self._add_rows(number)

    def _open(self, path: Path) -> int:
        """The number of a segment that is new; -1 where it is none of ours."""
        try:
            segment = Segment.open(path)
        except FileNotFoundError:
            return -1  # removed meanwhile
        except (FormatError, OSError) as error:
            if isinstance(error, FormatError) and error.is_empty:
                return -1  # what a power failure leaves; whoever stores next removes it
            return self._leave_out(path, error)
        try:
            segment.check_store(self._store_id)
        except FormatError as error:
            segment.close()
            return self._leave_out(path, error)
        return self._number(segment)

    def _leave_out(self, path: Path, error: Exception) -> int:
        self._left_out.add(path)
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._say("segment", f"{path} is left out of the cache: {text}")
        return -1

    def _number(self, segment: Segment) -> int:
        """The number of a segment, which gets one if it is new."""
        segment_id = segment.header.segment_id
        number = self._numbers.setdefault(segment_id, len(self._segments))
        if number == len(self._segments):
            self._segments.append(segment)
            self._seen.append(np.zeros(segment.header.entries, bool))
            size = sum(each.header.file_bytes for each in self._segments)
            self._is_larger_than_memory = self._memory is not None and size > self._memory
        elif self._segments[number] is not segment:
            segment.close()  # open already, for reading
        return number

    def _add_rows(self, number: int, ahead: int | None = None) -> None:
        """Adds the entries of a segment that are new: all, or of so many rows behind the last."""
        segment, seen = self._segments[number], self._seen[number]
        first = 0
        if ahead is not None and seen.any():
            first = len(seen) - int(np.argmax(seen[::-1]))
        end = len(seen) if ahead is None else min(first + ahead, len(seen))
        try:
            table = segment.table(first, end)
        except OSError as error:
            self._say("segment", f"{segment.path} cannot be read: {error.strerror}")
            return
        table["length"][seen[first:end]] = 0
        rows = valid_rows(table, segment.header.seed)
        if self._is_raw:
            rows = rows[table["length"][rows] == self._image_bytes]
        seen[first + rows] = True
        if ahead is None:
            self._index.add_table(number, table, rows)
        elif len(rows):
            entries = table[rows]
            self._index.add(
                [entry.tobytes()[:KEY_BYTES] for entry in entries],
                segment=number,
                rows=(first + rows).tolist(),
                offsets=entries["offset"].tolist(),
                lengths=entries["length"].tolist(),
                checksums=entries["checksum"].tolist(),
            )

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
        index = self._index
        segments, offsets = index.segment[entries], index.offset[entries]
        order = np.lexsort((offsets, segments))
        entries, indexes = entries[order], indexes[order]
        segments, offsets = segments[order], offsets[order]
        lengths = index.length[entries]
        sums = index.checksum[entries].tolist()
        if self._is_raw:
            pixels = rows.reshape(len(rows), -1)
            buffers = [pixels[i] for i in indexes.tolist()]
        else:
            ends = np.cumsum(lengths)
            block = scratch.decoded(int(ends[-1]))
            buffers = np.split(block[: ends[-1]], ends[:-1])
        # What lies one behind the other comes by one call. One that was forgotten meanwhile has
        # no length any more, and must not take its neighbour with it.
        is_next = (segments[1:] == segments[:-1]) & (offsets[1:] == offsets[:-1] + lengths[:-1])
        is_next &= lengths[1:] > 0
        cuts = [0, *(np.flatnonzero(~is_next) + 1).tolist(), len(entries)]
        files, begins, sizes = segments.tolist(), offsets.tolist(), lengths.tolist()
        if self._is_larger_than_memory:
            # The disk gets all that a task wants at once, and no more than that: measured 1.0 to
            # 1.6 times the images a second. What lies in memory needs none of it.
            for first, end in pairwise(cuts):
                self._segments[files[first]].announce(begins[first], sum(sizes[first:end]))
        bad: list[int] = []
        for first, end in pairwise(cuts):
            segment = self._segments[files[first]]
            errors: list[OSError | None] = [None] * (end - first)
            if not _reads(segment, buffers[first:end], begins[first], sum(sizes[first:end])):
                # Of those that lie together some may be right: each by itself.
                errors = [
                    _error_of(segment, buffers[i], begins[i], sizes[i]) for i in range(first, end)
                ]
            for i, error in zip(range(first, end), errors, strict=True):
                if error is not None or checksum(buffers[i]) != sums[i]:
                    self._drop(int(entries[i]), error)
                    bad.append(int(indexes[i]))
        if not self._is_raw:
            for row, entry, buffer in zip(indexes.tolist(), entries.tolist(), buffers, strict=True):
                if row not in bad and not self._decode(buffer, rows[row], entry):
                    bad.append(row)
        return bad

    def _decode(self, data: npt.NDArray[np.uint8], row: npt.NDArray[np.uint8], entry: int) -> bool:
        try:
            decode_jpeg_into(data, self._recipe, row)
        except ValueError:
            self._drop(entry)
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
            index = self._index
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
        if error is not None and not isinstance(error, _CutOffError):
            return
        with contextlib.suppress(OSError):  # read-only, or gone: it is found again next time
            if erase(segment, row, kept):
                with self._lock:
                    self._seen[number][row] = False
                    self._filling.take_back(segment.path, row)


def _reads(segment: Segment, buffers: list[npt.NDArray[np.uint8]], offset: int, size: int) -> bool:
    """Whether all buffers were filled."""
    try:
        return segment.read_into(buffers, offset, size)
    except OSError:
        return False


def _error_of(
    segment: Segment, buffer: npt.NDArray[np.uint8], offset: int, size: int
) -> OSError | None:
    """Fills one buffer; why that cannot be."""
    try:
        if not segment.read_into([buffer], offset, size):
            return _CutOffError()
    except OSError as error:
        return error
    return None


class _CutOffError(OSError):
    """A file ends before an image does."""

    strerror = "the file is too short"


def _id_in(name: str) -> bytes:
    """The id in the name of a segment; empty where it is no such name."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""
