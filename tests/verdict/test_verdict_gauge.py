"""What is counted of a loader for a verdict."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from infeed import Cache, Loader, LocalStorage, Manifest, MemoryStorage, Recipe, Sampler
from infeed.verdict import Facts, facts_between, mark
from infeed.verdict.gauge import free_cpu_seconds

PICTURE = cv2.imencode(".jpg", np.full((64, 96, 3), 120, np.uint8))[1].tobytes()
NAMES = [f"{number}.jpg" for number in range(12)]


def facts_of(loader: Loader, *, stall_seconds: float = 0.0) -> Facts:
    """Of one epoch."""
    begin = mark(loader)
    with loader.epoch(0) as batches:
        images = sum(len(batch) for batch in batches)
    return facts_between(
        begin, mark(loader), loader, stall_seconds=stall_seconds, steps=3, images=images
    )


def loader_of(**options: Any) -> Loader:
    options = {"storage": MemoryStorage(dict.fromkeys(NAMES, PICTURE)), **options}
    recipe = options.pop("recipe", Recipe(height=16, width=16))
    return Loader(Manifest.from_rows(NAMES), recipe, Sampler(batch_size=4), threads=2, **options)


@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_pictures_are_counted_whole_and_as_small_as_would_do(decode: Any) -> None:
    facts = facts_of(loader_of(recipe=Recipe(height=16, width=16, decode=decode)))
    assert (facts.made, facts.images, facts.decoded) == (12, 12, 12)
    assert facts.source_bytes == 12 * len(PICTURE)
    assert facts.source_pixels == 12 * 64 * 96
    # A quarter of each side leaves 16 and 24 pixels.
    assert facts.least_pixels == 12 * 16 * 24
    assert facts.is_exact == (decode == "exact")


def test_the_processor_time_of_the_stages_is_part_of_the_whole() -> None:
    facts = facts_of(loader_of())
    assert 0 < facts.input_cpu_seconds <= facts.cpu_seconds
    assert facts.input_cpu_seconds <= facts.busy_seconds + 0.05  # clocks of two kinds


def test_no_more_tasks_are_counted_than_the_window_holds() -> None:
    assert facts_of(loader_of(depth=3)).tasks == 3  # a batch of 4 is one task


def test_the_error_of_two_clocks_does_not_stop_a_training() -> None:
    facts = facts_of(loader_of(), stall_seconds=1e6)
    assert facts.stall_seconds == facts.seconds
    assert facts_of(loader_of(), stall_seconds=-1e-9).stall_seconds == 0


def test_the_error_of_sums_of_floats_does_not_stop_a_training() -> None:
    loader = loader_of()
    begin = mark(loader)
    less = replace(begin.reading, idle_seconds=begin.reading.idle_seconds - 1e-9)
    facts = facts_between(
        begin, replace(mark(loader), reading=less), loader, stall_seconds=0, steps=0, images=0
    )
    assert facts.idle_seconds == 0


def test_a_storage_without_stamps_is_read_in_spite_of_a_cache(tmp_path: Any) -> None:
    assert not facts_of(loader_of()).can_skip_reads
    for name in NAMES:
        (tmp_path / name).write_bytes(PICTURE)
    local = LocalStorage(tmp_path)
    assert facts_of(loader_of(storage=local)).can_skip_reads
    by_content = Cache(tmp_path / "cache", identity="content")
    assert not facts_of(loader_of(storage=local, cache=by_content)).can_skip_reads


def test_the_cache_of_an_epoch_is_counted_and_its_limit_only_where_it_is_the_reason(
    tmp_path: Any,
) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(PICTURE)
        os.utime(tmp_path / name, (1e9, 1e9))
    storage = LocalStorage(tmp_path)
    roomy = loader_of(storage=storage, cache=Cache(tmp_path / "a", limit="1GB"))
    cold, warm = facts_of(roomy).cache, facts_of(roomy).cache
    assert cold is not None
    assert warm is not None
    assert (cold.hits, cold.misses, warm.hits, warm.misses) == (0, 12, 12, 0)
    assert (warm.hit_rate, warm.is_closed, warm.limit_bytes) == (1.0, False, None)
    tiny = facts_of(loader_of(storage=storage, cache=Cache(tmp_path / "b", limit=1000))).cache
    assert tiny is not None
    assert (tiny.is_closed, tiny.limit_bytes, tiny.not_stored) == (True, 1000, 12)


def test_what_cores_have_left_is_idle_time_and_waiting_for_disks(tmp_path: Any) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(f"cpu  7 0 9 {3 * ticks} {2 * ticks} 0 0\n")
    assert free_cpu_seconds(proc=tmp_path) == 5.0
    assert free_cpu_seconds(proc=tmp_path / "missing") is None
