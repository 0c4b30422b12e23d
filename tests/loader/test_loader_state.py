"""The place of a loader: saved, refused where another run would come of it, and gone on from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infeed import Batch, Cursor, Loader, Manifest, Recipe, ResumeError, Sampler, Shard
from infeed.identity import check_same

COUNT = 53  # pictures in conftest.py
MakeLoader = Callable[..., Loader]


def positions(batches: list[Batch]) -> list[int]:
    return [int(p) for batch in batches for p in batch.positions[batch.weights > 0]]


def saved(loader: Loader) -> Any:
    return json.loads(json.dumps(loader.state_dict()))


def test_the_cursor_is_the_place_after_the_last_delivered_batch(make_loader: MakeLoader) -> None:
    loader = make_loader(depth=3)
    assert loader.cursor == Cursor(0, 0)
    with loader.epoch(2) as batches:
        assert loader.cursor == Cursor(0, 0)
        next(batches)
        assert loader.cursor == Cursor(2, 8)  # the threads are three batches ahead
        list(batches)
    assert loader.cursor == Cursor(3, 0)
    loader.batch(0, 3)
    assert loader.cursor == Cursor(3, 0)
    stream = loader.forever(5, 2)
    next(stream)
    stream.close()
    assert loader.cursor == Cursor(5, 24)
    with loader.resume() as batches:
        assert next(batches).number == 3
    assert loader.cursor == Cursor(5, 32)


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad", "carry"])
def test_a_resumed_stream_is_the_rest_of_the_stream(
    make_loader: MakeLoader, remainder: str
) -> None:
    sampler = Sampler(seed=4, batch_size=8, remainder=remainder)
    with make_loader(sampler).endless() as stream:
        whole = list(itertools.islice(stream, 20))
    loader = make_loader(sampler)
    for done in range(18):
        state = saved(loader)
        with loader.endless() as stream:
            list(itertools.islice(stream, done))
        if done:
            state = saved(loader)
        other = make_loader(sampler)
        other.load_state_dict(state)
        with other.resume() as stream:
            for expected in whole[done : done + 2]:
                batch = next(stream)
                assert (batch.epoch, batch.number) == (expected.epoch, expected.number)
                np.testing.assert_array_equal(batch.positions, expected.positions)
                np.testing.assert_array_equal(batch.images, expected.images)


@pytest.mark.parametrize("remainder", ["keep", "pad", "carry"])
def test_a_run_goes_on_with_other_shards_over_and_over_and_nothing_comes_twice(
    make_loader: MakeLoader, remainder: str
) -> None:
    seen: list[int] = []
    state = saved(make_loader(Sampler(1, 4, remainder=remainder)))
    # Global batches of 12, 8, 28 and 4: amid an epoch, over its end, and amid the next.
    for count, batches in ((3, 1), (2, 2), (7, 2), (1, 3)):
        loaders = [
            make_loader(Sampler(1, 4, remainder=remainder, shard=Shard(w, count)))
            for w in range(count)
        ]
        streams = []
        for loader in loaders:
            loader.load_state_dict(state)
            with loader.resume() as stream:
                streams.append(list(itertools.islice(stream, batches)))
            again = loader.batch(
                streams[-1][-1].epoch, streams[-1][-1].number, phase=streams[-1][-1].phase
            )
            np.testing.assert_array_equal(again.images, streams[-1][-1].images)
        for together in zip(*streams, strict=True):
            rows = np.stack([batch.positions for batch in together], axis=1).ravel()
            weights = np.stack([batch.weights for batch in together], axis=1).ravel()
            seen += rows[weights > 0].tolist()
        (text,) = {json.dumps(loader.cursor.to_json()) for loader in loaders}
        state = saved(loaders[-1])
        assert state["cursor"] == json.loads(text)
        whole = [p for epoch in range(3) for p in Sampler(1, COUNT).plan(COUNT, epoch, 0).positions]
        assert seen == whole[: len(seen)]
    assert len(seen) > COUNT


def test_carry_keeps_its_cuts_over_the_ends_of_epochs(make_loader: MakeLoader) -> None:
    loader = make_loader(Sampler(1, 10, "sequential", "carry"))
    loader.cursor = Cursor(0, 47)
    with loader.resume() as stream:
        batches = list(itertools.islice(stream, 7))
    assert {batch.phase for batch in batches} == {7}
    assert positions(batches) == [p % COUNT for p in range(47, 117)]
    assert loader.cursor == Cursor(2, 11)


def test_a_state_is_small_json_with_constant_keys(make_loader: MakeLoader) -> None:
    state = make_loader(Sampler(2**60, 2**31 - 1)).state_dict()
    assert list(state) == ["state_version", "cursor", "identity"]
    assert len(json.dumps(state)) < 4096
    assert json.loads(json.dumps(state)) == state
    assert list(state["identity"]) == [
        "seed",
        "batch_size",
        "shards",
        "sampling",
        "remainder",
        "order_version",
        "records",
        "manifest",
        "recipe",
        "label_mode",
        "dtype",
        "scale",
        "on_bad_image",
        "class_weights",
        "reencoding",
        "augment",
    ]


def test_every_setting_that_differs_is_named_with_both_values(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    state = saved(make_loader(Sampler(seed=7, batch_size=8)))
    table = Manifest.from_rows(list(pictures)[:-1], [n % 3 for n in range(COUNT - 1)])
    other = make_loader(
        Sampler(seed=8, batch_size=9, sampling="sequential", remainder="pad"),
        table=table,
        label_mode="categorical",
        dtype="float32",
        scale=0.5,
        on_bad_image="mask",
        class_weight={0: 2.0},
    )
    with pytest.raises(ResumeError) as caught:
        other.load_state_dict(state)
    text = str(caught.value)
    for line in (
        "seed: saved 7, now 8 (without seed=... another one is drawn each time)\n",
        "batch_size: saved 8, now 9\n",
        "sampling: saved 'shuffle', now 'sequential'\n",
        "remainder: saved 'keep', now 'pad'\n",
        "records: saved 53, now 52\n",
        f"now '{table.fingerprint()}' (its fingerprint: names, ",
        "label_mode: saved 'int', now 'categorical'\n",
        "dtype: saved 'uint8', now 'float32'\n",
        "scale: saved None, now 0.5\n",
        "on_bad_image: saved 'replace', now 'mask'\n",
        "class_weights: saved None, now [2.0, 1.0, 1.0]\n",
        "Go back to the saved values, or start anew.",
    ):
        assert line in text
    assert "shards" not in text
    assert "recipe" not in text
    assert other.cursor == Cursor(0, 0)


def test_shards_may_differ_and_the_batch_size_where_the_global_batch_stays(
    make_loader: MakeLoader,
) -> None:
    state = saved(make_loader(Sampler(batch_size=6, shard=Shard(1, 2))))
    for batch_size, count in ((6, 1), (6, 3), (12, 1), (4, 3), (3, 4)):
        make_loader(Sampler(batch_size=batch_size, shard=Shard(0, count))).load_state_dict(state)
    for batch_size, count in ((12, 2), (5, 2), (12, 4)):
        loader = make_loader(Sampler(batch_size=batch_size, shard=Shard(0, count)))
        with pytest.raises(ResumeError, match=rf"\n  batch_size: saved 6, now {batch_size}\n"):
            loader.load_state_dict(state)


def test_a_part_of_the_recipe_is_named() -> None:
    saved_recipe = {"recipe": Recipe(height=8, width=8).to_json()}
    current = {"recipe": Recipe(height=9, width=8).to_json()}
    with pytest.raises(ResumeError, match=r"^The backup was saved .*\n  recipe.height: saved 8, "):
        check_same(saved_recipe, current, "The backup")


def test_what_was_not_saved_differs() -> None:
    with pytest.raises(ResumeError, match=r"\n  scale: saved nothing, now 2.0\n"):
        check_same({}, {"scale": 2.0}, "The backup")
    check_same({}, {"reencoding": None}, "A backup from before caches")
    with pytest.raises(ResumeError, match="names no settings: an identity is a dict, got 3"):
        check_same(3, {}, "The backup")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_version": 2}, "the state has version 2, this infeed reads version 1"),
        ({"extra": 1}, r"with the keys state_version, cursor and identity; got \['state_version'"),
        ({"cursor": {"epoch": 1}}, "no place to go on from: Cursor.from_json needs the keys"),
        ({"cursor": 5}, "no place to go on from: "),
        (
            {"cursor": {"cursor_version": 1, "epoch": 0, "sample": 54}},
            "lies beyond the 53 samples of an epoch",
        ),
        ({"identity": None}, "names no settings"),
    ],
)
def test_what_is_no_state_is_refused_and_changes_nothing(
    make_loader: MakeLoader, change: dict[str, Any], message: str
) -> None:
    loader = make_loader()
    with pytest.raises(ResumeError, match=message):
        loader.load_state_dict({**saved(loader), **change})
    assert loader.cursor == Cursor(0, 0)
    with pytest.raises(ResumeError, match=r"got \[\]"):
        loader.load_state_dict({})
    with pytest.raises(ResumeError, match="got None"):
        loader.load_state_dict(None)


def test_the_weights_of_many_classes_are_kept_as_a_digest(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    labels = [n % 3 for n in range(COUNT)]
    table = Manifest.from_rows(pictures, labels, class_names=range(3000))
    weights = {label: 1 + label / 7 for label in range(3000)}
    state = saved(make_loader(Sampler(sampling=weights), table=table))
    assert len(json.dumps(state)) < 4096
    make_loader(Sampler(sampling=weights), table=table).load_state_dict(state)
    other = make_loader(Sampler(sampling={**weights, 2999: 2}), table=table)
    with pytest.raises(ResumeError, match=r"\n  sampling: saved 'weights of 3000 classes, BLAKE2b"):
        other.load_state_dict(state)


def test_a_few_weights_are_shown_as_they_are(make_loader: MakeLoader) -> None:
    state = saved(make_loader(Sampler(sampling={0: 1, 1: 2, 2: 0.5})))
    make_loader(Sampler(sampling={2: 0.5, 1: 2, 0: 1})).load_state_dict(state)
    with pytest.raises(ResumeError, match=r"saved \[\[0, 1\], \[1, 2\], \[2, 0\.5\]\], now 'sqrt'"):
        make_loader(Sampler(sampling="sqrt")).load_state_dict(state)
