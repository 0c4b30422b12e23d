"""A run that is interrupted, and goes on with other shards and batches, is the run itself.

A run is looked at as the sequence of its samples (epoch, position, turn), in the order of the
whole job. It has to be what one process would have seen, so that what came before an
interruption and what comes after it are, as multisets too, everything exactly once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infeed.order import BatchPlan, ClassMembers, Cursor, Sampler, Shard
from infeed.order.cuts import REMAINDERS
from infeed.order.sampling import SAMPLINGS

Sample = tuple[int, int, int]
"""The epoch, the position and the turn."""

# What one set of shards does before it is stopped: their count, their batch size, the batches.
Segment = tuple[int, int, int]


@functools.cache
def classes(n: int) -> ClassMembers:
    """Half of the records in class 0, a quarter in class 1, and so on."""
    numbers = np.arange(1, n + 1)
    return ClassMembers(np.log2(numbers & -numbers).astype(np.int64))


def samplings(n: int) -> st.SearchStrategy[str | dict[int, float]]:
    count = len(classes(n).counts)
    weights = {label: 0 if label % 2 else 1.5**label for label in range(count)}
    return st.sampled_from([*SAMPLINGS, weights])


def samples_of(plans: list[BatchPlan]) -> list[Sample]:
    """The samples of a global batch, from the plans of all its shards, in the job's order."""
    assert len({plan.rows for plan in plans}) == 1
    columns = [
        np.stack([getattr(plan, name) for plan in plans], axis=1).ravel()
        for name in ("sample_epochs", "positions", "turns", "weights")
    ]
    counts = columns.pop() > 0
    assert (np.diff(counts.astype(int)) <= 0).all()  # padding comes last
    return list(zip(*(column[counts].tolist() for column in columns), strict=True))


def steps_from(samplers: list[Sampler], n: int, cursor: Cursor) -> Iterator[list[BatchPlan]]:
    """The global batches from a place on: each with the plans of all shards."""
    (place,) = {sampler.place(n, cursor) for sampler in samplers}
    first, start, phase = place
    for epoch in itertools.count(first):
        (steps,) = {sampler.steps(n, epoch, phase=phase) for sampler in samplers}
        for number in range(start, steps):
            yield [s.plan(n, epoch, number, phase=phase, members=classes(n)) for s in samplers]
        start = 0
        if samplers[0].remainder != "carry":
            phase = 0


def run(template: Sampler, n: int, segments: list[Segment]) -> tuple[list[Sample], Cursor]:
    """What is seen over several interruptions, each resumed from the cursor alone."""
    seen: list[Sample] = []
    cursor = Cursor()
    for count, batch_size, batches in segments:
        samplers = [
            Sampler(
                template.seed, batch_size, template.sampling, template.remainder, Shard(w, count)
            )
            for w in range(count)
        ]
        after = cursor
        for plans in itertools.islice(steps_from(samplers, n, cursor), batches):
            seen += samples_of(plans)
            plan = plans[-1]
            after = samplers[0].cursor(n, plan.epoch, plan.number + 1, phase=plan.phase)
        assert samplers[0].advance(n, cursor, batches) == samplers[-1].advance(n, after, 0)
        cursor = Cursor.from_json(after.to_json())
    return seen, cursor


def whole_order(template: Sampler, n: int, epoch: int) -> list[Sample]:
    """All samples of an epoch, as one batch of one process."""
    plan = Sampler(template.seed, n, template.sampling).plan(n, epoch, 0, members=classes(n))
    return samples_of([plan])


def check_run(template: Sampler, n: int, seen: list[Sample]) -> None:
    """The samples are those of the epochs, one after the other, without a gap or a repeat."""
    assert len(set(seen)) == len(seen)
    epochs = range(seen[-1][0] + 1 if seen else 0)
    orders = [whole_order(template, n, epoch) for epoch in epochs]
    if template.remainder == "drop":
        # Of each epoch what comes first; how much depends on the batches.
        for epoch, order in zip(epochs, orders, strict=True):
            part = [sample for sample in seen if sample[0] == epoch]
            assert part == order[: len(part)]
        assert [sample[0] for sample in seen] == sorted(sample[0] for sample in seen)
    else:
        assert seen == [sample for order in orders for sample in order][: len(seen)]
    if template.sampling in ("shuffle", "sequential") and template.remainder != "drop":
        for epoch in epochs[:-1]:
            positions = sorted(position for e, position, _ in seen if e == epoch)
            assert positions == list(range(n))


@st.composite
def runs(
    draw: st.DrawFn, counts: list[st.SearchStrategy[int]], *, largest_batch: int = 6
) -> tuple[Sampler, int, list[Segment]]:
    """A template of samplers, a number of records, and segments with these shard counts."""
    n = draw(st.integers(1, 150))
    remainder = draw(st.sampled_from(REMAINDERS))
    segments: list[Segment] = []
    for count in counts:
        shards = draw(count)
        most = largest_batch if remainder != "drop" else min(largest_batch, n // shards)
        assume(most > 0)
        batch_size = draw(st.integers(1, most))
        # Up to two epochs or so.
        batches = draw(st.integers(0, max(1, 2 * n // (shards * batch_size))))
        segments.append((shards, batch_size, batches))
    template = Sampler(draw(st.integers(0, 9)), 1, draw(samplings(n)), remainder)
    return template, n, segments


@pytest.mark.parametrize("before", range(1, 9))
@pytest.mark.parametrize("after", range(1, 9))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_number_of_shards_goes_on_where_any_other_stopped(
    before: int, after: int, data: st.DataObject
) -> None:
    template, n, segments = data.draw(runs([st.just(before), st.just(after)]))
    check_run(template, n, run(template, n, segments)[0])


@settings(max_examples=100, deadline=None)
@given(runs([st.integers(1, 64), st.integers(1, 64)], largest_batch=3))
def test_up_to_64_shards_go_on_where_up_to_64_stopped(
    case: tuple[Sampler, int, list[Segment]],
) -> None:
    check_run(case[0], case[1], run(*case)[0])


@settings(max_examples=150, deadline=None)
@given(runs([st.integers(1, 9)] * 5))
def test_a_chain_of_interruptions_leaves_no_trace(
    case: tuple[Sampler, int, list[Segment]],
) -> None:
    check_run(case[0], case[1], run(*case)[0])


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 400),
    before=st.tuples(st.integers(1, 64), st.integers(1, 20)),
    after=st.tuples(st.integers(1, 64), st.integers(1, 20)),
    data=st.data(),
)
def test_what_an_epoch_showed_before_and_after_is_the_manifest_exactly_once(
    n: int, before: tuple[int, int], after: tuple[int, int], data: st.DataObject
) -> None:
    remainder = data.draw(st.sampled_from(["keep", "pad"]))
    template = Sampler(data.draw(st.integers()), 1, "shuffle", remainder)
    steps = -(-n // (before[0] * before[1]))
    stop = data.draw(st.integers(0, steps))
    seen, cursor = run(template, n, [(*before, stop)])
    if cursor.epoch == 0:
        samplers = [
            Sampler(template.seed, after[1], "shuffle", remainder, Shard(w, after[0]))
            for w in range(after[0])
        ]
        for plans in itertools.takewhile(
            lambda plans: plans[0].epoch == 0, steps_from(samplers, n, cursor)
        ):
            seen += samples_of(plans)
    assert sorted(position for _, position, _ in seen) == list(range(n))


def test_carry_goes_on_in_the_stream_also_with_batches_larger_than_the_set() -> None:
    template = Sampler(2, 1, "shuffle", "carry")
    seen, cursor = run(template, 7, [(2, 5, 3), (3, 4, 2), (1, 1, 9)])
    check_run(template, 7, seen)
    assert len(seen) == 30 + 24 + 9
    assert cursor == Cursor(9, 0)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(runs([st.integers(1, 64)] * 4, largest_batch=8))
def test_chains_of_up_to_64_shards_leave_no_trace(
    case: tuple[Sampler, int, list[Segment]],
) -> None:
    check_run(case[0], case[1], run(*case)[0])
