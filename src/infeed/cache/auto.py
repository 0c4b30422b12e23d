"""What `encoding="auto"` comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final, get_args

from infeed.cache.encoding import JPEG_SHARE, can_be_jpeg
from infeed.cache.folder import StoreName, check_version, count_images
from infeed.cache.format import FormatError
from infeed.cache.settings import Cache, Encoding
from infeed.cache.space import bytes_used, format_bytes, free_memory, room_on_disk
from infeed.sample import Recipe, decoder_versions

# What memory does not hold of raw images comes from the disk in every epoch. Two cores decode
# 8,000 JPEGs of 224x224 a second; where at least half of the raw images are in memory, a disk that
# reads 0.6 GB a second keeps up with that, and leaves two thirds of the processor to the training.
# Measured with 1.2 times the memory, in `benchmarks/README.md`.
_MEMORY_SHARE: Final = 0.5


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """An encoding and the reason for it, for people."""

    encoding: Encoding
    reason: str

    def __str__(self) -> str:
        return f"{self.encoding} ({self.reason})"


def choose_encoding(
    *,
    images: int,
    image_bytes: int,
    is_jpeg_possible: bool,
    kept: Mapping[Encoding, int],
    disk: float,
    limit: float,
    memory: int | None,
) -> Choice:
    """What `auto` takes.

    Args:
        images: of the set.
        image_bytes: of one, raw.
        is_jpeg_possible: `can_be_jpeg`.
        kept: how many images of this recipe the folder holds already, by encoding.
        disk: bytes that may still be taken of the disk.
        limit: bytes that the cache's limit leaves.
        memory: bytes that could keep files in memory; None: not known.
    """
    size = images * image_bytes
    raw = f"raw images take {format_bytes(size)}"
    if not is_jpeg_possible:
        return Choice("raw", f"{raw}, and JPEG has no transparency")
    # A few images of some trial decide nothing, nor those of another set beyond the size of this.
    begun: dict[Encoding, int] = {
        encoding: min(count, images) for encoding, count in kept.items() if 100 * count >= images
    }
    if begun:
        encoding = max(begun, key=lambda each: (begun[each], each == "raw"))
        rest = (images - begun[encoding]) * image_bytes
        if encoding == "jpeg" or rest <= min(disk, limit):
            return Choice(encoding, f"it holds {kept[encoding]:,} images of this recipe so")
    if size > min(disk, limit):
        is_limit = limit < disk
        room = format_bytes(limit if is_limit else disk)
        why = f"{raw}, and the {'limit leaves' if is_limit else 'disk has'} room for {room}"
        if JPEG_SHARE * size > min(disk, limit):
            # Pixels are not changed for a part of the set.
            return Choice("raw", f"{why}; JPEGs of all would not fit either")
        return Choice("jpeg", why)
    if memory is None:
        return Choice("raw", f"{raw}, which fit the disk")
    there = format_bytes(memory)
    if size <= memory:
        return Choice("raw", f"{raw}, which fit the disk and the {there} of free memory")
    if _MEMORY_SHARE * size <= memory:
        return Choice(
            "raw", f"{raw}, which fit the disk; {there} of free memory hold half of them or more"
        )
    return Choice("jpeg", f"{raw}; {there} of free memory hold less than half of them")


def encoding_for(cache: Cache, recipe: Recipe, images: int) -> Choice:
    """The encoding that a cache uses for a set, and why.

    Args:
        cache: where, and what was asked for.
        recipe: the form of the images.
        images: of the set.

    Raises:
        ValueError: JPEG was asked for, and the recipe has transparency.
    """
    if cache.encoding != "auto":
        if cache.encoding == "jpeg" and not can_be_jpeg(recipe):
            raise ValueError(
                f"JPEG has no channels for color_mode={recipe.color_mode!r}: pass "
                "cache_encoding='raw'"
            )
        return Choice(cache.encoding, "as asked")
    versions = decoder_versions()
    kept: dict[Encoding, int] = {
        encoding: count_images(cache.folder / StoreName.of(recipe, versions, encoding).folder)
        for encoding in get_args(Encoding)
    }
    try:
        check_version(cache.folder)
        disk: float = room_on_disk(_existing(cache.folder))
    except FormatError:  # nothing of it will be used
        kept, disk = {}, math.inf
    except OSError:
        disk = math.inf
    limit = math.inf
    if cache.max_bytes is not None:
        limit = max(0, cache.max_bytes - bytes_used(cache.folder))
    return choose_encoding(
        images=images,
        image_bytes=recipe.height * recipe.width * recipe.channels,
        is_jpeg_possible=can_be_jpeg(recipe),
        kept=kept,
        disk=disk,
        limit=limit,
        memory=free_memory(),
    )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
