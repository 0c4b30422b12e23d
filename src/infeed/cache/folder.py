"""What lies in a cache folder, and what of it is ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from infeed.cache.encoding import JPEG_QUALITY, JPEG_SUBSAMPLING
from infeed.cache.format import FORMAT_VERSION, SUFFIX, FormatError
from infeed.cache.lock import LOCK_FILE, folder_lock
from infeed.cache.segment import Segment
from infeed.cache.settings import Encoding
from infeed.manifest.from_folders import CACHE_MARKER
from infeed.sample import Recipe
from infeed.whole_file import PARTIAL, write_json

MARKER: Final = CACHE_MARKER
STORE_FILE: Final = "store.json"
SETS_FOLDER: Final = "sets"

# What is ours is told by its name: a file that a power failure has emptied is ours still.
_STORE_NAME: Final = re.compile(r"\d+x\d+-[a-z]+-(?:raw|jpeg)-[0-9a-f]{12}")
_SEGMENT_NAME: Final = re.compile(rf"[0-9a-f]{{32}}\{SUFFIX}")
_SET_NAME: Final = re.compile(r"[0-9a-f]{32}\.json")
_PARTIAL_NAME: Final = re.compile(rf"{PARTIAL}\d+-[0-9a-f]{{8}}-(.+)")


@final
@dataclass(frozen=True, slots=True)
class StoreName:
    """Which images may share a store: those of one recipe, decoder and encoding.

    Attributes:
        description: these, as JSON values.
    """

    description: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: Recipe, versions: Mapping[str, str], encoding: Encoding) -> StoreName:
        """The store of a recipe, as these decoders make it."""
        kept: dict[str, Any] = {"encoding": encoding}
        if encoding == "jpeg":
            kept |= {"quality": JPEG_QUALITY, "subsampling": JPEG_SUBSAMPLING}
        return cls(
            {
                "format": FORMAT_VERSION,
                "recipe": recipe.to_json(),
                "decoder": dict(versions),
                "kept": kept,
            }
        )

    @property
    def encoding(self) -> Encoding:
        """Of its images."""
        encoding: Encoding = self.description["kept"]["encoding"]
        return encoding

    @property
    def store_id(self) -> bytes:
        """16 bytes, different where the description is."""
        text = json.dumps(self.description, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=16, person=b"infeed store").digest()

    @property
    def folder(self) -> str:
        """The name of its folder: what people want to know first, and part of the id."""
        recipe = self.description["recipe"]
        size = f"{recipe['height']}x{recipe['width']}"
        return f"{size}-{recipe['color_mode']}-{self.encoding}-{self.store_id.hex()[:12]}"


def is_cache(folder: Path) -> bool:
    """Whether infeed has made this folder a cache."""
    return (folder / MARKER).is_file()


def read_version(folder: Path) -> int | None:
    """The format version that a cache folder says it has; None where it says nothing.

    A marker that is damaged says nothing: each segment has the version, too.
    """
    try:
        # A pipe of that name would be waited for.
        value = json.loads((folder / MARKER).read_text("utf-8")) if is_cache(folder) else None
    except (OSError, ValueError, RecursionError):
        return None
    version = value.get("format") if isinstance(value, dict) else None
    return version if isinstance(version, int) else None


def check_version(folder: Path) -> None:
    """Refuses the cache of a later version.

    Raises:
        FormatError: a later infeed made it.
    """
    version = read_version(folder)
    if version is not None and version > FORMAT_VERSION:
        raise FormatError(
            f"{folder} has format version {version}, and this infeed reads {FORMAT_VERSION}",
            is_newer=True,
        )


def require_cache(folder: Path) -> None:
    """Refuses a folder that is no cache, or that of a later version.

    Raises:
        ValueError: it is no cache folder.
        FormatError: a later infeed made it.
    """
    check_version(folder)
    if not is_cache(folder):
        raise ValueError(
            f"{folder} is no cache of infeed: it has no {MARKER}. Name the folder of a cache."
        )


def write_marker(folder: Path) -> None:
    """Makes a folder a cache folder.

    Raises:
        OSError: it cannot be written.
    """
    if read_version(folder) is None:
        write_json(
            folder / MARKER,
            {
                "format": FORMAT_VERSION,
                "what": "Images kept by infeed. It may be removed at any time: infeed cache clear.",
            },
        )


def write_store_file(store: Path, name: StoreName) -> None:
    """Writes what a store is into its folder, unless it is there.

    Raises:
        OSError: it cannot be written.
    """
    path, known = store / STORE_FILE, None
    with contextlib.suppress(OSError, ValueError, RecursionError):  # missing, or damaged
        known = json.loads(path.read_bytes()) if path.is_file() else None
    if known != name.description:
        write_json(path, name.description)


def store_folders(folder: Path) -> Iterator[Path]:
    """The stores of a cache folder, by name."""
    for path in sorted(folder.iterdir()):
        if _STORE_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def segment_paths(store: Path) -> list[Path]:
    """The segments of a store; empty where it does not exist.

    Raises:
        OSError: it cannot be listed.
    """
    try:
        return sorted(
            path
            for path in store.iterdir()
            if path.suffix == SUFFIX and not path.name.startswith(PARTIAL)
        )
    except FileNotFoundError:
        return []


def is_segment(path: Path) -> bool:
    """Whether a file is one of ours, whatever is in it."""
    return _SEGMENT_NAME.fullmatch(path.name) is not None and _is_plain_file(path)


def count_images(store: Path) -> int:
    """How many entries a store has, without a look at their bytes; 0 where it is none."""
    count = 0
    with contextlib.suppress(OSError):
        for path in segment_paths(store):
            with (
                contextlib.suppress(OSError, FormatError),
                contextlib.closing(Segment.open(path)) as segment,
            ):
                count += int((segment.table()["length"] > 0).sum())
    return count


@final
@dataclass(frozen=True, slots=True)
class Cleared:
    """What `clear` has removed.

    Attributes:
        stores: names of the stores.
        segments: how many files of images.
        bytes: their size.
        left: what is in the folder and not ours.
    """

    stores: tuple[str, ...]
    segments: int
    bytes: int
    left: tuple[str, ...]


def clear(folder: Path, stores: tuple[str, ...] = ()) -> Cleared:
    """Removes what infeed has put into a cache folder, and nothing else.

    Processes that use it go on, with what they have open.

    Args:
        folder: of the cache.
        stores: names of those to remove; all by default, and the folder too if it is empty then.

    Raises:
        ValueError: it is no cache folder, or has no such store.
        FormatError: a later infeed made it.
        OSError: something cannot be removed.
    """
    require_cache(folder)
    there = {path.name: path for path in store_folders(folder)}
    unknown = [name for name in stores if name not in there]
    if unknown:
        raise ValueError(f"{folder} has no store {unknown[0]!r}; it has {sorted(there)}")
    removed, count, size = [], 0, 0
    with folder_lock(folder, seconds=5) as is_held:
        if not is_held:
            raise TimeoutError(
                f"{folder} is locked by a process that does not go on. End it, or try again."
            )
        for name in stores or there:
            store = there[name]
            for path in filter(is_segment, segment_paths(store)):
                with contextlib.suppress(FileNotFoundError):  # its writer was faster
                    size += path.stat().st_size
                    path.unlink()
                    count += 1
            _remove_files(store, _SEGMENT_NAME)  # and those that a kill has left half made
            _remove_files(store / SETS_FOLDER, _SET_NAME)
            _remove_if_empty(store / SETS_FOLDER)
            _remove_files(store, re.compile(re.escape(STORE_FILE)))
            _remove_if_empty(store)
            removed.append(name)
        if not stores:
            ours = {MARKER, LOCK_FILE}
            _remove_files(folder, re.compile(re.escape(MARKER)), but=MARKER)
            if {path.name for path in folder.iterdir()} <= ours:
                (folder / MARKER).unlink(missing_ok=True)
                (folder / LOCK_FILE).unlink(missing_ok=True)
                _remove_if_empty(folder)
    left: list[str] = []
    if folder.is_dir():
        left = sorted(
            path.name for path in folder.iterdir() if path.name not in (MARKER, LOCK_FILE, *there)
        )
        left += sorted(
            f"{name}/{path.name}"
            for name in removed
            if (folder / name).is_dir()
            for path in (folder / name).iterdir()
        )
    return Cleared(tuple(removed), count, size, tuple(left))


def _remove_files(folder: Path, names: re.Pattern[str], *, but: str = "") -> None:
    """Removes the files of these names, and what writers of them that were killed have left."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        partial = _PARTIAL_NAME.fullmatch(path.name)
        name = path.name if partial is None else partial[1]
        if names.fullmatch(name) and path.name != but and _is_plain_file(path):
            path.unlink(missing_ok=True)


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty, or not there
        folder.rmdir()
