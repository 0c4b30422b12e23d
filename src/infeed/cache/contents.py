"""`contents`: what is in a cache folder, for people."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from infeed.cache.folder import (
    STORE_FILE,
    require_cache,
    segment_paths,
    store_folders,
)
from infeed.cache.format import FormatError, free_rows, valid_rows
from infeed.cache.segment import Segment
from infeed.cache.sets import SetUse, read_uses
from infeed.sample import decoder_versions

_BLOCK_ROWS: Final = 4096


@final
@dataclass(frozen=True, slots=True)
class StoreContents:
    """One store: the images of one recipe, decoder and encoding.

    Attributes:
        store: its name.
        recipe: as `Recipe.to_json` gave it; empty where nothing is left that tells.
        decoder: what made the images, as `decoder_versions` gave it.
        encoding: `raw` or `jpeg`.
        is_current: whether the decoder is that of now: if not, its images are not used.
        images: entries whose check is right; their images were not read.
        bytes: of all its files of images.
        free_bytes: of these files, when they are written to, for images that are not there yet.
        segments: how many files.
        unreadable: names of files that are no segments, or cannot be read.
        sets: which have used it, the latest first.
    """

    store: str
    recipe: Mapping[str, Any]
    decoder: Mapping[str, str]
    encoding: str
    is_current: bool
    images: int
    bytes: int
    free_bytes: int
    segments: int
    unreadable: tuple[str, ...]
    sets: tuple[SetUse, ...]


def contents(folder: Path) -> list[StoreContents]:
    """The stores of a cache folder, by name. Nothing is written, and no image is read.

    Raises:
        ValueError: it is no cache folder.
        FormatError: a later infeed made it.
        OSError: it cannot be listed.
    """
    require_cache(folder)
    return [_contents_of(store) for store in store_folders(folder)]


def _contents_of(store: Path) -> StoreContents:
    description = _description_in(store)
    images = size = free = segments = 0
    unreadable = []
    for path in segment_paths(store):
        try:
            segment = Segment.open(path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except (FormatError, OSError):
            unreadable.append(path.name)
            continue
        with contextlib.closing(segment):
            try:
                size += path.lstat().st_size
                there, room = _images_in(segment)
            except OSError:
                unreadable.append(path.name)
                continue
            images += there
            free += room
            segments += 1
            description = description or segment.header.description
    decoder = description.get("decoder")
    recipe = description.get("recipe")
    return StoreContents(
        store=store.name,
        recipe=recipe if isinstance(recipe, Mapping) else {},
        decoder=decoder if isinstance(decoder, Mapping) else {},
        encoding=store.name.split("-")[2],
        is_current=decoder == decoder_versions(),
        images=images,
        bytes=size,
        free_bytes=free,
        segments=segments,
        unreadable=tuple(unreadable),
        sets=tuple(read_uses(store)),
    )


def _images_in(segment: Segment) -> tuple[int, int]:
    """(entries that count, bytes for more)."""
    header = segment.header
    images = rows = 0
    end = header.data_at
    for first in range(0, header.entries, _BLOCK_ROWS):
        table = segment.table(first, min(first + _BLOCK_ROWS, header.entries))
        right = table[valid_rows(table, header.seed)]
        images += len(right)
        rows += len(free_rows(table))
        ends = right["offset"].astype(np.int64) + right["length"]
        end = max(end, int(ends.max(initial=0)))
    if header.slot_bytes:
        return images, rows * header.slot_bytes
    return images, max(0, header.file_bytes - end) if rows else 0


def _description_in(store: Path) -> Mapping[str, Any]:
    """What `store.json` says; empty where it is gone or damaged."""
    path = store / STORE_FILE
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(path.read_text("utf-8")) if path.is_file() else None
        if isinstance(value, Mapping):
            return value
    return {}
