"""A trainer's epochs over the order: equal in length, without a gap, found again from any place."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infeed import Cursor, Sampler, Shard
from infeed.trainers.epochs import Epochs


@st.composite
def epochs(draw):
    sampler = Sampler(
        batch_size=draw(st.integers(1, 40)),
        remainder=draw(st.sampled_from(["keep", "drop", "pad", "carry"])),
        shard=Shard(0, draw(st.integers(1, 5))),
    )
    records = draw(st.integers(1, 500))
    assume(sampler.remainder in ("keep", "pad") or sampler.global_batch_size <= records)
    return Epochs(sampler, records)


def cursors(epochs):
    # One in the middle of an epoch may lie off the cuts, saved with another batch size.
    return st.builds(Cursor, st.integers(0, 50), st.integers(0, epochs.records - 1))


@given(st.data(), epochs(), st.integers(0, 100))
def test_epochs_follow_each_other_without_a_gap(data, epochs, epoch):
    begin = epochs.begin(epoch)
    after = epochs.sampler.advance(epochs.records, begin, epochs.steps)
    assert after == epochs.begin(epoch + 1)
    assert (epochs.number(begin), epochs.rest(begin)) == (epoch, epochs.steps)


@given(st.data(), epochs())
def test_the_rest_of_an_epoch_leads_to_the_next_begin_from_any_place(data, epochs):
    cursor = data.draw(cursors(epochs))
    sampler, records = epochs.sampler, epochs.records
    after = sampler.advance(records, cursor, epochs.rest(cursor))
    assert epochs.rest(after) == epochs.steps
    assert epochs.number(after) == epochs.number(cursor) + 1
    assert epochs.next_begin(after) == after
    here = sampler.advance(records, cursor, 0)
    assert epochs.next_begin(cursor) in (here, after)


@given(st.data(), epochs())
def test_within_an_epoch_its_number_stays_and_its_rest_shrinks(data, epochs):
    cursor = data.draw(cursors(epochs))
    rest = epochs.rest(cursor)
    step = data.draw(st.integers(0, rest - 1))
    later = epochs.sampler.advance(epochs.records, cursor, step)
    assert (epochs.number(later), epochs.rest(later)) == (epochs.number(cursor), rest - step)


def test_epochs_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"batches of 8 on 1 shard.* epochs of 5 records"):
        Epochs(Sampler(batch_size=8, remainder="carry"), records=5)
