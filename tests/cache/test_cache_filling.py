"""Where the next images go when a segment is full."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from infeed import Cache, Recipe
from infeed.cache import Encoding
from infeed.cache.filling import Filling
from infeed.cache.folder import StoreName, segment_paths
from infeed.cache.writer import SegmentWriter

LONG_AGO = 1_700_000_000
RECIPE = Recipe(height=16, width=24)
IMAGE_BYTES = 16 * 24 * 3
MISSING = 300


@pytest.mark.parametrize(("encoding", "slot_bytes"), [("raw", IMAGE_BYTES), ("jpeg", 0)])
def test_a_full_segment_is_left_alone_while_the_next_ones_fill(
    tmp_path: Path, encoding: Encoding, slot_bytes: int
) -> None:
    name = StoreName.of(RECIPE, {"decoder": "1"}, encoding)
    folder = tmp_path / name.folder
    filling = Filling(
        Cache(tmp_path),
        name,
        folder,
        slot_bytes=slot_bytes,
        image_bytes=IMAGE_BYTES,
        say=lambda about, text: pytest.fail(text),
    )
    image = np.arange(IMAGE_BYTES, dtype=np.uint8)
    full: set[Path] = set()
    last: Path | None = None
    for number in range(MISSING):
        # B023: it is called before the next round.
        slots, writer = filling.set_aside([IMAGE_BYTES], missing=lambda: MISSING - number)  # noqa: B023
        assert writer is not None
        path = writer.segment.path
        assert path not in full
        if last is not None and path != last:
            full.add(last)
            os.utime(last, (LONG_AGO, LONG_AGO))
        writer.put(slots, [number.to_bytes(16, "little")], [image], [0])
        last = path
    filling.close()
    assert len(full) >= 3
    assert full == set(segment_paths(folder)) - {last}
    assert {path.stat().st_mtime for path in full} == {LONG_AGO}


def test_nothing_is_left_of_a_segment_for_which_too_many_files_are_open(tmp_path: Path) -> None:
    free = os.dup(0)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # one, and it needs two
    try:
        with pytest.raises(OSError, match="Too many open files"):
            SegmentWriter.create(
                tmp_path,
                store_id=bytes(16),
                slot_bytes=IMAGE_BYTES,
                size=100_000,
                description={},
            )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert list(tmp_path.iterdir()) == []
    again = os.dup(0)
    os.close(again)
    assert again == free
