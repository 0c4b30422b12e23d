"""`fill_cache`: one pass over a set, so that its first epoch decodes nothing either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from infeed.loader import Loader
from infeed.order import Shard


@dataclass(frozen=True, slots=True)
class FillResult:
    """What a pass came to; the six counts of images make up `records`.

    Attributes:
        records: of the set.
        there: images that were in the cache, and right.
        stored: images that were put into it.
        not_stored: images that were not, for the reasons in `complaints`, or because their files
            were changing.
        not_seen: images that were not looked at, since the cache took no more: they may be there.
        recovered: images of faulty files, which are not kept, so that they are noted each time.
        bad: images that could not be had.
        seconds: wall time.
        images_per_second: images that were gone through, by it.
        complaints: what went wrong with the cache: see `Store.complaints`.
    """

    records: int
    there: int
    stored: int
    not_stored: int
    not_seen: int
    recovered: int
    bad: int
    seconds: float
    images_per_second: float
    complaints: dict[str, str]


def fill_cache(
    loader: Loader,
    *,
    report: Callable[[int, int, float], None] = lambda done, total, rate: None,
) -> FillResult:
    """Goes once through the set of a loader with a cache, and ends early when that takes no more.

    It may be interrupted at any time; what is there then is only checked by the next pass.

    Args:
        loader: new, in sequential order, with `remainder="keep"` and one shard, so that each image
            comes once; and with `on_bad_image="mask"`: a replacement would be looked for in the
            cache, too.
        report: told (images gone through, of how many, images a second) after each batch.

    Raises:
        ValueError: the loader has no cache, another order, or not each image once.
        TooManyBadImagesError: more bad images than the loader allows.
    """
    if loader.cache is None:
        raise ValueError("fill_cache needs a loader with cache=, got one without")
    sampler = loader.sampler
    if sampler.sampling != "sequential" or loader.on_bad_image != "mask":
        raise ValueError(
            "fill_cache needs sampling='sequential' and on_bad_image='mask', got "
            f"{sampler.sampling!r} and {loader.on_bad_image!r}"
        )
    if sampler.remainder != "keep" or sampler.shard != Shard():
        raise ValueError(
            "fill_cache counts each image of the set once: it needs remainder='keep' and no shard, "
            f"got {sampler.remainder!r} and {sampler.shard}"
        )
    records, done = len(loader.manifest), 0
    start = perf_counter()
    with loader.epoch(0) as batches:
        for batch in batches:
            done += len(batch)
            report(done, records, done / (perf_counter() - start))
            if not {"limit", "stop"}.isdisjoint(loader.cache_complaints):
                break  # going on would decode for nothing
    seconds = perf_counter() - start
    counts = loader.cache_counts
    bad = loader.quarantine.count()
    there = counts.hits + counts.stored_by_others
    kept = there + counts.stored + counts.not_stored
    recovered = records - kept - bad if done == records else loader.quarantine.count_recovered()
    return FillResult(
        records=records,
        there=there,
        stored=counts.stored,
        not_stored=counts.not_stored,
        not_seen=records - kept - recovered - bad,
        recovered=recovered,
        bad=bad,
        seconds=seconds,
        images_per_second=done / seconds,
        complaints=loader.cache_complaints,
    )
