"""`Sources`: which kept image belongs to which record, as long as its source stays as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from infeed.cache.key import is_fresh, key_of_content, key_of_file
from infeed.cache.settings import Identity
from infeed.errors import StorageError
from infeed.manifest import Manifest
from infeed.read import Stamp, StampedStorage, Storage

Read = Callable[[int], bytes | None]
"""The bytes of a record; None where reading it again will say what is wrong."""

_FAR: Final = 2**63  # in the year 2262 and 292 years before 1970: beyond what 64 bits hold


@final
@dataclass(frozen=True, slots=True)
class Source:
    """One record's image, as it is now.

    Attributes:
        index: its place among those that were asked for together.
        position: its record.
        stamp: of its file; None where it has none, or cannot be looked at.
        data: its bytes, where they had to be read for the key.
        key: 16 bytes that stand for it as it is now; None where nothing does.
    """

    index: int
    position: int
    stamp: Stamp | None = None
    data: bytes | None = None
    key: bytes | None = None


@final
class Sources:
    """Finds the entries of records, and remembers them: 24 bytes a record.

    Args:
        manifest: what exists.
        storage: where it is.
        identity: how an image is known to be the same.

    Attributes:
        known: of how many records the entry is known; 0 where they are known by content.
    """

    def __init__(self, manifest: Manifest, storage: Storage, identity: Identity) -> None:
        self._manifest = manifest
        self._lock = threading.Lock()
        is_stamped = identity == "stat" and isinstance(storage, StampedStorage)
        self._stamped = storage if is_stamped and isinstance(storage, StampedStorage) else None
        n = len(manifest) if self._stamped else 0
        self._entries = np.full(n, -1, np.int64)
        self._sizes = np.zeros(n, np.int64)
        self._times = np.zeros(n, np.int64)
        self.known = 0

    def find(
        self, positions: Sequence[int], find: Callable[[bytes], int], read: Read
    ) -> tuple[npt.NDArray[np.int64], list[Source]]:
        """int64 (records,), the number of each record's entry, -1 where there is none; sources.

        Args:
            positions: records.
            find: the number of the entry with a key, or -1.
            read: where images are known by their content: its bytes, or None.

        Returns:
            The numbers, and the sources of the records without an entry.
        """
        if self._stamped is None:
            return self._find_by_content(positions, find, read)
        records = np.array(positions)
        uris = self._manifest.uris(records)
        now_ns = time.time_ns()
        stamps = self._stamps(uris)
        with self._lock:
            entries = self._entries[records]
            sizes, times = self._sizes[records], self._times[records]
        if None not in stamps:
            now = np.array(stamps)
            if (entries >= 0).all() and (now[:, 0] == sizes).all() and (now[:, 1] == times).all():
                return entries, []
        numbers, missing = [], []
        for index, (position, uri, stamp, entry, *known) in enumerate(
            zip(
                positions,
                uris,
                stamps,
                entries.tolist(),
                sizes.tolist(),
                times.tolist(),
                strict=True,
            )
        ):
            number, key = -1, None
            if stamp is not None:
                number = entry
                if entry < 0 or tuple(known) != stamp:
                    key = self._key_of(uri, stamp)
                    number = -1 if key is None else find(key)
                    if number >= 0:
                        self.remember([position], [number], [stamp])
            if number < 0:
                # Asked before it is read: a change after that has another time.
                if stamp is not None and is_fresh(stamp, now_ns):
                    key = None
                missing.append(Source(index, position, stamp, key=key))
            numbers.append(number)
        return np.array(numbers), missing

    def keys(self, sources: Sequence[Source]) -> list[bytes | None]:
        """What the images are stored under; None for one that must not be, for now.

        Looks again: a source that has changed while it was read is not what `stamp` stands for.
        """
        if self._stamped is None:
            return [source.key for source in sources]
        records = np.array([each.position for each in sources])
        stamps = self._stamps(self._manifest.uris(records))
        return [
            source.key if stamp is not None and stamp == source.stamp else None
            for source, stamp in zip(sources, stamps, strict=True)
        ]

    def remember(
        self, positions: Sequence[int], entries: Sequence[int], stamps: Sequence[Stamp | None]
    ) -> None:
        """Notes the entries of records, for as long as their sources have these stamps."""
        if self._stamped is None:
            return
        records = np.array(positions)
        sizes, times = np.array(stamps, np.int64).T
        with self._lock:
            self.known += len({each for each in positions if self._entries[each] < 0})
            self._sizes[records], self._times[records] = sizes, times
            self._entries[records] = entries

    def source(self, index: int, position: int, read: Read) -> Source:
        """The source of a record whose entry was not right; the entry is forgotten."""
        if self._stamped is not None:
            uri = self._manifest.uri(position)
            with self._lock:
                self.known -= int(self._entries[position] >= 0)
                self._entries[position] = -1
            now_ns = time.time_ns()
            stamp = self._stamps([uri])[0]
            is_kept = stamp is not None and not is_fresh(stamp, now_ns)
            key = self._key_of(uri, stamp) if stamp is not None and is_kept else None
            return Source(index, position, stamp, key=key)
        data = read(position)
        key = None if data is None else key_of_content(data)
        return Source(index, position, data=data, key=key)

    def _stamps(self, uris: Sequence[str]) -> list[Stamp | None]:
        """The stamps that can be remembered; None for any other."""
        assert self._stamped is not None
        return [
            stamp if stamp is not None and -_FAR < stamp[1] < _FAR else None
            for stamp in self._stamped.stamps(uris)
        ]

    def _key_of(self, uri: str, stamp: Stamp) -> bytes | None:
        assert self._stamped is not None
        try:
            return key_of_file(self._stamped.name(uri), stamp)
        except StorageError:
            return None

    def _find_by_content(
        self, positions: Sequence[int], find: Callable[[bytes], int], read: Read
    ) -> tuple[npt.NDArray[np.int64], list[Source]]:
        numbers, missing = [], []
        for index, position in enumerate(positions):
            number, key = -1, None
            data = read(position)
            if data is not None:
                key = key_of_content(data)
                number = find(key)
            if number < 0:
                missing.append(Source(index, position, data=data, key=key))
            numbers.append(number)
        return np.array(numbers), missing
