"""`Filling`: where the next images go, and when no more do."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, final

from infeed.cache.encoding import JPEG_SHARE
from infeed.cache.folder import (
    StoreName,
    check_version,
    segment_paths,
    write_marker,
    write_store_file,
)
from infeed.cache.format import ENTRY_BYTES, HEADER_BYTES, SUFFIX, FormatError
from infeed.cache.lock import folder_lock
from infeed.cache.segment import Segment
from infeed.cache.settings import Cache
from infeed.cache.space import bytes_used, format_bytes, room_on_disk
from infeed.cache.writer import SegmentWriter, Slot
from infeed.whole_file import PARTIAL

# A segment holds an eighth of what is missing, so that several processes that fill the same cache
# do not reserve it several times; and so much at least and at most.
_SHARE: Final = 8
_FEWEST_IMAGES: Final = 64
_FEWEST_IN_NEED: Final = 4  # where the disk has no room for more
_TABLE_SLACK: Final = 2 * HEADER_BYTES
_LARGEST: Final = 256 * 1024**2
_MOST_SEGMENTS: Final = 64  # a larger set has larger segments, so that few files are open
_LARGEST_OF_ALL: Final = 4 * 1024**3

_LOCK_SECONDS: Final = 0.2
_FIRST_RETRY_SECONDS: Final = 0.05  # doubled each time that somebody is still in the way
_LAST_RETRY_SECONDS: Final = 5.0
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@final
class Filling:
    """Gives out places in segments: of one that was left, or of a new one.

    Not safe for several threads; `SegmentWriter.put` is.

    Args:
        cache: where, and how much.
        name: of the store.
        folder: of the store.
        slot_bytes: of each image, or 0 where they differ.
        image_bytes: of an image as pixels.
        say: told once why no more is stored: (what it is about, text).
    """

    def __init__(
        self,
        cache: Cache,
        name: StoreName,
        folder: Path,
        *,
        slot_bytes: int,
        image_bytes: int,
        say: Callable[[str, str], None],
    ) -> None:
        self._cache = cache
        self._name = name
        self._folder = folder
        self._slot_bytes = slot_bytes
        self._image_bytes = image_bytes
        self._say = say
        self._writer: SegmentWriter | None = None
        self._full: set[Path] = set()  # segments that are not worth another look
        self._has_folder = False
        self._had_rest = False  # whether a segment was made for the last few images
        self._is_stopped = False
        self._not_before = 0.0
        self._retry_seconds = _FIRST_RETRY_SECONDS

    def set_aside(
        self, lengths: Sequence[int], *, missing: Callable[[], int]
    ) -> tuple[list[Slot], SegmentWriter | None]:
        """Places for the first of these images, at least for one; none where no more is stored.

        Args:
            lengths: of the images, in bytes.
            missing: tells how many images the set lacks.

        Returns:
            The places and the writer that must `put` them; ([], None) where there are none.
        """
        if self._is_stopped or not lengths:
            return [], None
        if self._writer is None or not self._writer.has_room(lengths[0]):
            if self._writer is not None:
                self._full.add(self._writer.segment.path)
                self._writer.close()
                self._writer = None
            if time.monotonic() < self._not_before:
                return [], None
            try:
                self._writer = self._next_writer(lengths[0], missing())
            except (FormatError, OSError) as error:
                self._stop_after(error)
            if self._writer is None:
                self._not_before = time.monotonic() + self._retry_seconds
                self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
                return [], None
            self._retry_seconds = _FIRST_RETRY_SECONDS
        slots = self._writer.set_aside(lengths)
        return slots, self._writer if slots else None

    def fail(self, error: FormatError | OSError) -> None:
        """Stores no more, since this has happened."""
        self._stop_after(error)

    def stop(self, reason: str, *, about: str = "stop") -> None:
        """Stores no more, and says why."""
        self._is_stopped = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._say(
            about,
            f"The cache in {self._cache.folder} takes no more images: {reason.rstrip('.')}. "
            "What it does not hold is decoded each time.",
        )

    def writes(self, segment: Segment) -> bool:
        """Whether it is this process that fills the segment."""
        writer = self._writer
        return writer is not None and writer.segment.header.segment_id == segment.header.segment_id

    def take_back(self, path: Path, row: int) -> None:
        """Notes that a place in a segment is free again."""
        self._full.discard(path)
        if self._writer is not None and self._writer.segment.path == path:
            self._writer.take_back(row)

    def close(self) -> None:
        """Gives back what is reserved and not used; nothing is set aside any more."""
        self._is_stopped = True
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Forgets the writer of the process that this one was forked off."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _stop_after(self, error: Exception) -> None:
        if isinstance(error, OSError):
            text = error.strerror or str(error)
            if error.errno == errno.ENOENT and self._has_folder:
                text = "its folder has been removed"
            elif error.filename is not None:
                text = f"{error.filename}: {text}"
        else:
            text = str(error)
        self.stop(text)

    def _next_writer(self, length: int, missing: int) -> SegmentWriter | None:
        """A segment that nobody else writes to; None where others are in the way just now."""
        root = self._cache.folder
        if not self._has_folder:
            root.mkdir(parents=True, exist_ok=True)
            check_version(root)
            write_marker(root)
            self._folder.mkdir(exist_ok=True)
            write_store_file(self._folder, self._name)
            self._has_folder = True
        with _lock_if_there_are_locks(root) as is_held:
            if is_held is False:
                return None
            used = bytes_used(root)
            limit = self._cache.max_bytes
            room = room_on_disk(root)
            if limit is not None:
                room = min(room, limit - used)
            if is_held:
                writer = self._left_behind(length, room)
                if writer is not None:
                    return writer
            return self._new(length, missing, room, used)

    def _left_behind(self, length: int, room: int) -> SegmentWriter | None:
        """A segment with free places whose writer has ended."""
        self._remove_unfinished()
        for path in segment_paths(self._folder):
            if path in self._full:
                continue
            # One that cannot be taken over is no reason to store nothing.
            with contextlib.suppress(OSError):
                size = path.stat().st_size
                if self._reserved(path) - size > room:
                    continue
                writer = SegmentWriter.take_over(path, store_id=self._name.store_id)
                if writer is None:
                    continue
                if writer.has_room(length):
                    return writer
                self._full.add(path)
                writer.close()
        return None

    def _remove_unfinished(self) -> None:
        """Gives back what those have reserved who were killed while they made a segment.

        Under the folder's lock nobody else is making one.
        """
        for path in self._folder.glob(f"{PARTIAL}*{SUFFIX}"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _reserved(self, path: Path) -> int:
        """The size that a segment has when it is written to; one without a header is removed."""
        try:
            segment = Segment.open(path)
        except FormatError as error:
            if error.is_empty:
                path.unlink()
            return 0
        segment.close()
        return segment.header.file_bytes

    def _new(self, length: int, missing: int, room: int, used: int) -> SegmentWriter | None:
        per_image = self._slot_bytes or int(self._image_bytes * JPEG_SHARE)
        per_image += ENTRY_BYTES
        total = missing * per_image
        largest = min(max(_LARGEST, total // _MOST_SEGMENTS), _LARGEST_OF_ALL)
        images = max(_FEWEST_IMAGES, missing // _SHARE)
        if 0 < missing < images and not self._had_rest:
            # Once: where sources were replaced, there is more to store than is missing.
            images, self._had_rest = missing, True
        least = _TABLE_SLACK + _FEWEST_IN_NEED * max(per_image, length + ENTRY_BYTES)
        size = max(least, min(_TABLE_SLACK + images * per_image, largest))
        limit = self._cache.max_bytes
        while True:
            size = min(size, room)
            if size < least:
                if limit is not None and limit - used < least:
                    self.stop(
                        f"its segments have {format_bytes(used)}, and the limit is "
                        f"{format_bytes(limit)}. Raise it, or clear the cache",
                        about="limit",
                    )
                else:
                    self.stop("the disk is full but for what is left free (5 %, at most 2 GiB)")
                return None
            try:
                return SegmentWriter.create(
                    self._folder,
                    store_id=self._name.store_id,
                    slot_bytes=self._slot_bytes,
                    size=size,
                    description=self._name.description,
                )
            except OSError as error:
                # Somebody else may have taken the room meanwhile, or a quota leaves less.
                if error.errno not in _NO_SPACE or size == least:
                    raise
                size = max(least, size // 2)


@contextlib.contextmanager
def _lock_if_there_are_locks(folder: Path) -> Iterator[bool | None]:
    """True with the folder's lock, False where somebody has it, None where there are no locks."""
    with contextlib.ExitStack() as stack:
        is_held: bool | None
        try:
            is_held = stack.enter_context(folder_lock(folder, seconds=_LOCK_SECONDS))
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            is_held = None
        yield is_held
