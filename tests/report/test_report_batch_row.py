"""What each row of a batch is, and what happened to it."""

from __future__ import annotations

import numpy as np
import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.report.batch_row import batch_rows


def test_a_row_names_its_record_and_its_label(make_batch):
    loader, batch, rows = make_batch()
    assert [row.row for row in rows] == list(range(9))
    assert [row.position for row in rows] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert [row.file for row in rows] == [*make_batch.names, *make_batch.names[:2]]
    assert [row.label for row in rows] == batch.labels.tolist()
    assert [row.weight for row in rows] == batch.weights.tolist() == [1, 1, 0.5, 1, 1, 1, 1, 0, 0]
    assert {row.label_name for row in rows if row.label == 0} == {loader.manifest.class_names[0]}


def test_nothing_happened_to_most_rows(make_batch):
    _, _, rows = make_batch()
    assert [row.happened for row in rows] == [
        *[()] * 3,
        ("replaced",),
        *[()] * 2,
        ("recovered",),
        *[("padded",)] * 2,
    ]


def test_a_replaced_row_names_both_records_and_the_reason(make_batch):
    _, batch, rows = make_batch()
    row = rows[make_batch.bad]
    assert (row.source, row.source_file) == (
        batch.sources[make_batch.bad],
        make_batch.names[batch.sources[make_batch.bad]],
    )
    assert row.source != make_batch.bad
    assert row.label_name == make_batch.labels[row.source]
    assert row.reason == "truncated"
    assert row.message.startswith("the JPEG ")
    assert row.words.startswith("replaced by ")
    assert row.words.endswith(f"(record {row.source}): truncated")


def test_a_masked_row_has_no_source_and_keeps_its_label(make_batch):
    _, _, rows = make_batch(on_bad_image="mask")
    row = rows[make_batch.bad]
    assert (row.happened, row.source, row.source_file) == (("masked",), None, None)
    assert (row.label_name, row.weight) == (make_batch.labels[make_batch.bad], 0)
    assert row.words == "masked: truncated"


def test_a_recovered_row_says_what_was_wrong_with_its_file(make_batch):
    _, _, rows = make_batch()
    assert rows[make_batch.odd].message == "recovered: JPEG with extraneous bytes before a marker"
    assert rows[make_batch.odd].reason is None
    assert rows[make_batch.odd].words == "recovered"


def test_a_row_can_be_padded_and_masked(make_batch):
    _, _, rows = make_batch(batch_size=11, on_bad_image="mask")
    assert rows[10].position == make_batch.bad
    assert rows[10].happened == ("masked", "padded")
    assert rows[10].words == "masked: truncated; padded"


def test_words_hold_nothing_that_steers_a_terminal(make_batch):
    drawn, *_ = make_batch()
    words = []
    for seed in range(20):
        sampler = Sampler(seed=seed, batch_size=9, sampling="sequential", remainder="pad")
        loader = Loader(drawn.manifest, drawn.recipe, sampler, storage=drawn.storage, max_bad=1.0)
        words += [row.words for row in batch_rows(loader, loader.batch(0, 0))]
    assert any("line\\x1b[2J\\u202e" in each for each in words)
    assert all(each.isprintable() for each in words)


@pytest.mark.parametrize("remainder", ["keep", "carry"])
def test_a_set_without_labels_has_rows_without_labels(make_batch, remainder):
    loader = Loader(
        Manifest.from_rows(["a.jpg", "b.jpg", "c.jpg"]),
        Recipe(height=4, width=4),
        Sampler(batch_size=2, remainder=remainder),
        storage=MemoryStorage({name: make_batch.jpeg(0) for name in ("a.jpg", "b.jpg", "c.jpg")}),
    )
    rows = batch_rows(loader, loader.batch(1, 0))
    assert [(row.label, row.label_name, row.happened) for row in rows] == [(None, None, ())] * 2
    assert np.array_equal([row.position for row in rows], loader.batch(1, 0).positions)
