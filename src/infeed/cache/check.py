"""`check`: every checksum of a cache folder, and the repair of what is wrong."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, final

from infeed.cache.folder import (
    is_segment,
    require_cache,
    segment_paths,
    store_folders,
)
from infeed.cache.format import ENTRY_BYTES, HEADER_BYTES, FormatError, Header
from infeed.cache.lock import folder_lock, try_lock
from infeed.cache.segment import Segment, open_again
from infeed.cache.segment_check import SegmentCheck

_LOCK_SECONDS: Final = 1.0
_OLD_SECONDS: Final = 60.0

FileProblem = Literal["truncated", "no_segment", "unreadable", "newer", "foreign"]


@final
@dataclass(frozen=True, slots=True)
class FileReport:
    """A file that is not as it should be.

    Attributes:
        name: in the folder of the store.
        problem: `truncated`: shorter than what was stored in it; `no_segment`: it does not begin
            as one; `unreadable`: the system refuses; `newer`: of a later version of infeed;
            `foreign`: not ours, or of another store. The last two are no damage.
        text: for people.
        is_repaired: whether it was mended or removed.
    """

    name: str
    problem: FileProblem
    text: str
    is_repaired: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether something of this cache is lost."""
        return self.problem not in ("newer", "foreign")


@final
@dataclass(slots=True)
class StoreReport:
    """What was found in one store.

    Attributes:
        store: its name.
        segments: files that were read.
        images: that are what was stored.
        bytes: of these.
        damaged: images that are not, or whose entry is not.
        repaired: of these, how many entries were given back: the images are decoded again.
        files: those that are not as they should be.
    """

    store: str
    segments: int = 0
    images: int = 0
    bytes: int = 0
    damaged: int = 0
    repaired: int = 0
    files: list[FileReport] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing was damaged, repaired or not."""
        return not self.damaged and not any(file.is_damage for file in self.files)


def check(
    folder: Path,
    *,
    repair: bool = True,
    report: Callable[[str, int, int], None] = lambda store, done, total: None,
) -> list[StoreReport]:
    """Reads every image of a cache folder from the disk, and compares its checksum.

    Other processes may read and fill the cache meanwhile: what changes while it is looked at is
    not damage. Nothing is waited for. In a folder that cannot be written nothing is repaired.

    Args:
        folder: of the cache.
        repair: give back the entries of what is damaged, so that it is stored again, and remove
            files whose writer died before they were anything.
        report: told (store, bytes that were gone through, bytes of all segments).

    Raises:
        ValueError: it is no cache folder.
        FormatError: a later infeed made it.
        OSError: it cannot be listed.
    """
    require_cache(folder)
    work = [(store, _sizes(store)) for store in store_folders(folder)]
    total = sum(size for _, sizes in work for _, size in sizes)
    done = 0
    found = []
    for store, sizes in work:
        checked = StoreReport(store.name)
        found.append(checked)
        for path, size in sizes:
            tell = partial(_tell, report, store.name, done, size, total)
            tell(0)
            _check_file(path, checked, folder, tell, is_repairing=repair)
            done += size
            tell(1)
    return found


def _tell(
    report: Callable[[str, int, int], None],
    store: str,
    before: int,
    size: int,
    total: int,
    part: float,
) -> None:
    report(store, before + int(part * size), total)


def _sizes(store: Path) -> list[tuple[Path, int]]:
    """The segments of a store, with the size of each file."""
    sizes = []
    for path in segment_paths(store):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            sizes.append((path, path.lstat().st_size))
    return sizes


def _check_file(
    path: Path,
    found: StoreReport,
    folder: Path,
    tell: Callable[[float], None],
    *,
    is_repairing: bool,
) -> None:
    """Adds to `found` what is in one file."""

    def note(problem: FileProblem, text: str, *, is_repaired: bool = False) -> None:
        found.files.append(FileReport(path.name, problem, text, is_repaired))

    try:
        segment = Segment.open(path)
    except FileNotFoundError:
        return  # removed meanwhile
    except FormatError as error:
        if error.is_newer:
            note("newer", str(error))
        elif not is_segment(path):
            if path.exists():
                note("foreign", "it is not a segment, and not named as one")
        else:
            is_dead, is_removed = _look_at_dead(path, folder, is_repairing=is_repairing)
            if is_dead:
                note("no_segment", str(error), is_repaired=is_removed)
        return
    except OSError as error:
        text = error.strerror or str(error)
        if is_segment(path):
            note("unreadable", text)
        else:
            note("foreign", "it is not a file")
        return
    with contextlib.closing(segment):
        # The name of a store ends with the beginning of its id.
        if not found.store.endswith(segment.header.store_id.hex()[:12]):
            note("foreign", "it holds images of another recipe, decoder or encoding")
            return
        found.segments += 1
        seen = SegmentCheck(segment, is_repairing=is_repairing)
        try:
            seen.run(tell)
        except OSError as error:
            note("unreadable", error.strerror or str(error))
        found.images += seen.images
        found.bytes += seen.bytes
        found.damaged += seen.damaged
        found.repaired += seen.repaired
        if seen.is_truncated:
            is_mended = is_repairing and _mend_length(segment)
            note(
                "truncated",
                "it has been cut short",
                is_repaired=is_mended and seen.repaired == seen.damaged,
            )


def _mend_length(segment: Segment) -> bool:
    """Gives a segment whose table was cut its length back; whether it has it."""
    data_at = segment.header.data_at
    try:
        with _locked(segment) as descriptor:
            size = data_at if descriptor is None else os.fstat(descriptor).st_size
            if descriptor is not None and size < data_at:
                # Without the half of a row.
                os.ftruncate(descriptor, size - (size - HEADER_BYTES) % ENTRY_BYTES)
                os.ftruncate(descriptor, data_at)
        return os.fstat(segment.descriptor).st_size >= data_at
    except OSError:
        return False


@contextlib.contextmanager
def _locked(segment: Segment) -> Iterator[int | None]:
    """The file open for writing and locked; None where that is not to be had."""
    with open_again(segment) as descriptor:
        yield descriptor if descriptor is not None and try_lock(descriptor) else None


def _look_at_dead(path: Path, folder: Path, *, is_repairing: bool) -> tuple[bool, bool]:
    """Whether a file without a header has no writer, and whether it was removed."""
    try:
        # Under this lock segments are made: none is in the moment before its own lock, which
        # must not find ours on the file.
        with folder_lock(folder, seconds=_LOCK_SECONDS) as is_held:
            if is_held:
                with _opened(path) as descriptor:
                    if not try_lock(descriptor) or _has_header(descriptor):
                        return False, False
                    if is_repairing:
                        path.unlink()
                return True, is_repairing
    except FileNotFoundError:
        return False, False  # removed meanwhile
    except OSError:
        pass  # read-only, or without locks
    return _is_old(path), False


def _is_old(path: Path) -> bool:
    """Whether a file was not written to for so long that nobody is making it."""
    try:
        return time.time() - path.lstat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _has_header(descriptor: int) -> bool:
    """Whether an open file begins as a segment, also of a later version."""
    try:
        Header.unpack(os.pread(descriptor, HEADER_BYTES, 0))
    except FormatError as error:
        return error.is_newer
    return True
