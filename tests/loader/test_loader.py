"""From a manifest to batches: the same ones whatever the threads, each image once."""

from __future__ import annotations

import gc
import itertools
import threading
import types
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infeed import (
    BadImageError,
    Batch,
    Loader,
    LoaderClosedError,
    Manifest,
    ManifestError,
    MemoryStorage,
    Recipe,
    Sampler,
    Shard,
    StorageError,
    TooManyBadImagesError,
)
from infeed.batch_work import BatchWork
from infeed.stream import Recycler

COUNT = 53  # pictures in conftest.py
MakeLoader = Callable[..., Loader]


def read(loader: Loader, epoch: int = 0, start: int = 0) -> list[Batch]:
    with loader.epoch(epoch, start) as batches:
        return list(batches)


def who(batch: Batch) -> list[int]:
    """Which pictures the pixels are, told from their grey."""
    means = batch.images.reshape(len(batch), -1).mean(axis=1)
    return [round(float(mean) / 4) for mean in means]


def test_an_epoch_is_every_image_once_with_its_own_pixels_and_label(
    make_loader: MakeLoader,
) -> None:
    batches = read(make_loader())
    positions = np.concatenate([batch.positions for batch in batches])
    assert sorted(positions) == list(range(COUNT))
    for batch in batches:
        assert who(batch) == batch.positions.tolist()
        assert batch.labels is not None
        assert batch.labels.tolist() == [position % 3 for position in batch.positions]
        assert batch.weights.tolist() == [1.0] * len(batch)
        assert batch.sources.tolist() == batch.positions.tolist()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    threads=st.integers(1, 5),
    depth=st.integers(1, 4),
    batch_size=st.integers(1, 60),
    sampling=st.sampled_from(["shuffle", "sequential", "replacement"]),
    remainder=st.sampled_from(["keep", "pad", "carry"]),
    epoch=st.integers(0, 3),
)
def test_batches_are_the_same_for_any_thread_count_and_by_random_access(
    make_loader: MakeLoader,
    threads: int,
    depth: int,
    batch_size: int,
    sampling: str,
    remainder: str,
    epoch: int,
) -> None:
    sampler = Sampler(seed=5, batch_size=batch_size, sampling=sampling, remainder=remainder)
    loader = make_loader(sampler, threads=threads, depth=depth)
    batches = read(loader, epoch)
    assert len(batches) == loader.steps(epoch)
    for number, batch in enumerate(batches):
        again = loader.batch(epoch, number)
        assert (batch.epoch, batch.number) == (again.epoch, again.number) == (epoch, number)
        for name in ("images", "labels", "weights", "positions", "sources"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(again, name))


def test_an_epoch_begun_later_continues_with_the_very_next_batch(make_loader: MakeLoader) -> None:
    loader = make_loader()
    whole = [batch.positions.tolist() for batch in read(loader, 2)]
    assert [batch.positions.tolist() for batch in read(loader, 2, start=4)] == whole[4:]
    assert read(loader, 2, start=len(whole)) == []


def test_a_start_beyond_the_epoch_is_refused(make_loader: MakeLoader) -> None:
    with pytest.raises(ValueError, match="epoch 0 has 7 batches: cannot start at 8"):
        make_loader().epoch(0, 8)
    with pytest.raises(ValueError, match="epoch and start must be 0 or more"):
        make_loader().epoch(-1)


def test_epochs_differ_in_order_and_a_seed_repeats_them(make_loader: MakeLoader) -> None:
    loader = make_loader()
    first, second = (
        [p for batch in read(loader, epoch) for p in batch.positions.tolist()] for epoch in (0, 1)
    )
    assert first != second
    again = make_loader()
    assert [p for batch in read(again, 0) for p in batch.positions.tolist()] == first


def test_batch_arrays_are_aligned_contiguous_and_never_written_again(
    make_loader: MakeLoader,
) -> None:
    with make_loader(depth=1).epoch(0) as batches:
        kept = []
        for batch in batches:
            assert batch.images.ctypes.data % 64 == 0
            assert batch.images.flags.c_contiguous
            kept.append((batch, batch.images.copy()))
    for batch, copy in kept:
        np.testing.assert_array_equal(batch.images, copy)


def test_forever_is_a_true_generator_that_goes_on_after_an_epoch(make_loader: MakeLoader) -> None:
    loader = make_loader(Sampler(seed=1, batch_size=10, remainder="keep"))
    stream = loader.forever()
    assert isinstance(stream, types.GeneratorType)
    taken = list(itertools.islice(stream, 2 * loader.steps()))
    stream.close()
    seen = Counter(p for images, _ in taken for p in who(_batch(images)))
    assert seen == Counter(dict.fromkeys(range(COUNT), 2))
    images, labels, weights = next(loader.forever(weights=True))
    assert len(images) == len(labels) == len(weights) == 10


def _batch(images: np.ndarray) -> Batch:
    blank = np.zeros(len(images))
    return Batch(images, None, blank, blank, blank, blank, blank, 0, 0)


def test_a_generator_that_is_dropped_ends_its_threads(make_loader: MakeLoader) -> None:
    stream = make_loader().forever()
    next(stream)
    del stream
    gc.collect()  # the fixture of all tests waits for the threads


def test_threads_live_exactly_as_long_as_the_block(make_loader: MakeLoader) -> None:
    def ours() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("infeed-decode")]

    loader = make_loader(threads=2)
    assert not ours()
    with loader.epoch(0) as batches:
        next(batches)
        assert ours()
    assert not ours()
    with pytest.raises(ZeroDivisionError), loader.epoch(0) as batches:
        raise ZeroDivisionError(next(batches))
    assert not ours()


def test_a_block_that_is_left_early_keeps_no_memory_for_batches(make_loader: MakeLoader) -> None:
    def recyclers() -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, Recycler)]

    before = len(recyclers())
    with make_loader().epoch(0) as batches:
        next(batches)
        assert len(recyclers()) > before
    assert len(recyclers()) == before  # though `batches` is still there
    batches.close()


def test_a_batch_that_failed_goes_with_its_error(make_loader: MakeLoader) -> None:
    loader = make_loader(bad={7: b"no picture"}, on_bad_image="raise")
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(BadImageError):
            read(loader)
        assert not [each for each in gc.get_objects() if isinstance(each, BatchWork)]
    finally:
        gc.enable()


def test_batches_outside_the_block_are_refused_with_the_cure(make_loader: MakeLoader) -> None:
    stream = make_loader().epoch(0)
    with pytest.raises(LoaderClosedError, match=r"with loader.epoch\(0\) as batches"):
        next(stream)
    with stream:
        next(stream)
    with pytest.raises(LoaderClosedError, match="this epoch has ended"):
        next(stream)
    with pytest.raises(LoaderClosedError, match="can be opened once"), stream:
        pass


def test_several_readers_share_a_loader(make_loader: MakeLoader) -> None:
    loader = make_loader()
    with loader.epoch(0) as first, loader.epoch(0) as second:
        for one, two in zip(first, second, strict=True):
            assert one.positions.tolist() == two.positions.tolist()


@pytest.mark.parametrize("scale", [None, 1 / 255, 2.0])
def test_float32_is_the_uint8_batch_scaled(make_loader: MakeLoader, scale: float | None) -> None:
    whole = read(make_loader())
    scaled = read(make_loader(dtype="float32", scale=scale))
    for uint8, float32 in zip(whole, scaled, strict=True):
        assert float32.images.dtype == np.float32
        expected = uint8.images.astype(np.float32)
        if scale == 1 / 255:
            expected = expected / 255
        elif scale is not None:
            expected = expected * np.float32(scale)
        np.testing.assert_array_equal(float32.images, expected)


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [("int", (8,), "int32"), ("categorical", (8, 3), "float32")],
)
def test_labels_have_the_form_of_their_mode(
    make_loader: MakeLoader, mode: str, shape: tuple[int, ...], dtype: str
) -> None:
    labels = make_loader(label_mode=mode).batch(0, 0).labels
    assert labels is not None
    assert (labels.shape, labels.dtype) == (shape, dtype)


def test_binary_labels_need_two_classes(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    with pytest.raises(ManifestError, match="label_mode='binary' needs exactly 2 classes"):
        make_loader(label_mode="binary")
    table = Manifest.from_rows(pictures, [number % 2 for number in range(COUNT)])
    labels = make_loader(table=table, label_mode="binary").batch(0, 0).labels
    assert labels is not None
    assert labels.shape == (8, 1)
    assert set(labels.ravel().tolist()) <= {0.0, 1.0}


def test_without_labels_there_are_none(make_loader: MakeLoader, pictures: dict[str, bytes]) -> None:
    assert make_loader(table=Manifest.from_rows(pictures)).batch(0, 0).labels is None
    loader = make_loader(label_mode=None)
    assert loader.batch(0, 0).labels is None
    stream = loader.forever()
    assert len(next(stream)) == 1
    stream.close()


def test_record_weights_multiply_those_of_the_order(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    weights = [float(number) for number in range(COUNT)]
    table = Manifest.from_rows(pictures, [0] * COUNT, weights=weights)
    loader = make_loader(Sampler(batch_size=20, remainder="pad"), table=table)
    last = loader.batch(0, loader.steps() - 1)
    real = COUNT % 20
    assert last.weights[:real].tolist() == [weights[p] for p in last.positions[:real]]
    assert last.weights[real:].tolist() == [0.0] * (20 - real)


CUT = b"\xff\xd8\xff\xe0\x00\x10JFIF"


@pytest.mark.parametrize(
    "data", [None, b"", b"no picture", CUT], ids=["gone", "empty", "text", "cut"]
)
def test_a_bad_image_is_named_and_replaced_by_one_of_its_class(
    make_loader: MakeLoader, data: bytes | None
) -> None:
    loader = make_loader(bad={10: data})
    batches = read(loader, 1)
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 8, 5]
    rows = [(p, s) for b in batches for p, s in zip(b.positions, b.sources, strict=True)]
    assert [p for p, s in rows if p != s] == [10]
    (replaced,) = [int(s) for p, s in rows if p != s]
    assert replaced % 3 == 10 % 3
    for batch in batches:
        assert who(batch) == batch.sources.tolist()
    (bad,) = loader.quarantine.bad
    assert (bad.position, bad.uri) == (10, "图 10.jpg")
    assert "record 10, '图 10.jpg'" in bad.message
    assert loader.quarantine.count() == 1


def test_the_replacement_is_the_same_in_every_run_and_another_in_another_epoch(
    make_loader: MakeLoader,
) -> None:
    def stand_ins(loader: Loader, epochs: range) -> list[int]:
        return [
            int(s)
            for epoch in epochs
            for b in read(loader, epoch)
            for p, s in zip(b.positions, b.sources, strict=True)
            if p != s
        ]

    first = stand_ins(make_loader(bad={10: None}, threads=1), range(8))
    assert stand_ins(make_loader(bad={10: None}, threads=4), range(8)) == first
    assert len(set(first)) > 1


def test_a_masked_image_is_black_and_weighs_nothing(make_loader: MakeLoader) -> None:
    loader = make_loader(
        Sampler(batch_size=8, sampling="sequential"), bad={10: b""}, on_bad_image="mask"
    )
    batch = loader.batch(0, 1)
    assert batch.weights.tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    assert batch.sources.tolist() == [8, 9, -1, 11, 12, 13, 14, 15]
    assert not batch.images[2].any()
    assert batch.labels is not None
    assert batch.labels.tolist() == [p % 3 for p in range(8, 16)]


@pytest.mark.parametrize("on_bad_image", ["replace", "mask"])
def test_bad_images_change_no_shape_and_no_count_on_any_shard(
    make_loader: MakeLoader, on_bad_image: str
) -> None:
    bad: dict[int, bytes | None] = dict.fromkeys(range(0, 53, 2), b"no picture")
    for index in range(3):
        sampler = Sampler(seed=3, batch_size=4, shard=Shard(index, 3), remainder="drop")
        loader = make_loader(sampler, bad=bad, on_bad_image=on_bad_image, max_bad=1.0)
        plain = make_loader(sampler)
        with loader.epoch(1) as batches, plain.epoch(1) as expected:
            for batch, other in zip(batches, expected, strict=True):
                assert batch.images.shape == other.images.shape
                np.testing.assert_array_equal(batch.positions, other.positions)
                good = ~np.isin(batch.positions, list(bad))
                np.testing.assert_array_equal(batch.images[good], other.images[good])
                np.testing.assert_array_equal(batch.failed, ~good & (on_bad_image == "mask"))


def test_raise_stops_at_the_bad_image_and_says_where_it_is(make_loader: MakeLoader) -> None:
    loader = make_loader(bad={10: None}, on_bad_image="raise")
    with pytest.raises(StorageError) as caught, loader.epoch(0) as batches:
        list(batches)
    (note,) = caught.value.__notes__
    assert note.startswith("record 10, '图 10.jpg', batch ")
    assert note.endswith(" of epoch 0")


def test_more_bad_images_than_allowed_stop_the_run(make_loader: MakeLoader) -> None:
    loader = make_loader(bad=dict.fromkeys(range(0, 30, 3), b"no picture"), max_bad=4)
    with pytest.raises(TooManyBadImagesError, match="max_bad allows 4"), loader.epoch(0) as batches:
        list(batches)


def test_a_wrong_image_folder_is_said_at_the_first_batch(manifest: Manifest) -> None:
    loader = Loader(
        manifest, Recipe(height=8, width=8), Sampler(), storage=MemoryStorage({}), max_bad=1.0
    )
    with pytest.raises(TooManyBadImagesError, match="Is the image folder right"):
        loader.batch(0, 0)


def test_an_error_that_is_no_bad_image_reaches_the_reader_as_it_is(manifest: Manifest) -> None:
    class Broken:
        def read(self, uri: str) -> bytes:
            raise ZeroDivisionError(uri)

    loader = Loader(manifest, Recipe(height=8, width=8), Sampler(), storage=Broken())
    with pytest.raises(ZeroDivisionError) as caught, loader.epoch(0) as batches:
        next(batches)
    assert "batch 0 of epoch 0" in caught.value.__notes__[0]


def test_once_over_the_budget_nothing_is_delivered_any_more(make_loader: MakeLoader) -> None:
    loader = make_loader(bad={10: None}, max_bad=0)
    with pytest.raises(TooManyBadImagesError), loader.epoch(0) as batches:
        list(batches)
    for number in range(loader.steps()):
        with pytest.raises(TooManyBadImagesError, match="max_bad allows 0"):
            loader.batch(0, number)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, r"dtype must be one of \['uint8', 'float32'\], got 'float64'"),
        ({"scale": 1 / 255}, "needs dtype='float32'"),
        ({"label_mode": "onehot"}, "label_mode must be one of"),
        ({"on_bad_image": "skip"}, r"on_bad_image must be one of .*, got 'skip'"),
        (
            {"threads": 0},
            "threads must be a whole number, at least 1, or None for all cores, got 0",
        ),
        ({"threads": 1.5}, "threads must be a whole number"),
        ({"dtype": "float32", "scale": float("nan")}, "scale must be a finite number"),
        ({"dtype": "float32", "scale": "x"}, "scale must be a finite number"),
        ({"max_bad": "5"}, "max_bad must be a count"),
        ({"depth": 0}, "depth must be a whole number, at least 1, or None"),
        ({"max_bad": -1}, "max_bad must be a count of 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    make_loader: MakeLoader, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_loader(**options)


def test_without_folder_or_storage_the_cure_is_named(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match=r"Give it one \(images=...\), or pass storage="):
        Loader(manifest, Recipe(height=8, width=8), Sampler())


def test_settings_that_give_no_batch_are_refused_instead_of_waiting_for_ever(
    make_loader: MakeLoader,
) -> None:
    loader = make_loader(Sampler(batch_size=100, remainder="drop"))
    assert read(loader) == []
    with pytest.raises(ValueError, match="remainder='drop' with batch_size=100 leaves no batch"):
        loader.endless()


def test_carry_fills_batches_over_epochs_even_when_a_batch_is_larger_than_the_set(
    make_loader: MakeLoader,
) -> None:
    stream = make_loader(Sampler(batch_size=100, remainder="carry")).forever()
    seen = Counter(p for images, _ in itertools.islice(stream, COUNT) for p in who(_batch(images)))
    stream.close()
    assert seen == Counter(dict.fromkeys(range(COUNT), 100))


def test_a_batch_that_does_not_exist_is_an_index_error(make_loader: MakeLoader) -> None:
    with pytest.raises(IndexError):
        make_loader().batch(0, 7)


def test_the_stages_are_timed_and_the_images_counted(make_loader: MakeLoader) -> None:
    loader = make_loader(dtype="float32")
    before = loader.meter.read()
    read(loader)
    spent = loader.meter.read() - before
    assert spent.images == COUNT
    made = {"read", "header", "decode", "fit", "convert"}
    assert {stage for stage, seconds in spent.seconds.items() if seconds > 0} == made
    assert sum(spent.seconds.values()) <= spent.busy_seconds


def test_a_bad_image_error_has_a_stable_reason(make_loader: MakeLoader) -> None:
    reasons = {}
    for name, data in {"gone": None, "empty": b"", "text": b"no picture"}.items():
        loader = make_loader(bad={10: data}, on_bad_image="raise")
        with pytest.raises(BadImageError) as caught, loader.epoch(0) as batches:
            list(batches)
        reasons[name] = caught.value.reason
    assert reasons == {"gone": "missing", "empty": "empty", "text": "not_an_image"}


def test_class_weights_multiply_the_weights_of_their_rows(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    weights = [2.0] * COUNT
    table = Manifest.from_rows(pictures, [n % 3 for n in range(COUNT)], weights=weights)
    loader = make_loader(
        Sampler(batch_size=20, remainder="pad"), table=table, class_weight={0: 0.5, 2: 3}
    )
    for number in range(loader.steps()):
        batch = loader.batch(0, number)
        real = min(20, COUNT - 20 * number)
        expected = [2 * {0: 0.5, 1: 1, 2: 3}[int(p) % 3] for p in batch.positions[:real]]
        assert batch.weights.tolist() == expected + [0.0] * (20 - real)


@pytest.mark.parametrize("wrong", [{3: 1.0}, {0: -1.0}, {0: float("inf")}, {0: "x"}])
def test_class_weights_that_cannot_be_are_refused(
    make_loader: MakeLoader, wrong: dict[int, object]
) -> None:
    with pytest.raises(ValueError, match="class_weight must map the numbers of classes, 0 to 2"):
        make_loader(class_weight=wrong)


def test_batches_cut_at_another_phase_come_from_the_stream_and_by_random_access(
    make_loader: MakeLoader,
) -> None:
    loader = make_loader(Sampler(seed=3, batch_size=10, sampling="sequential"))
    with loader.endless(1, 4, phase=7) as stream:
        batches = list(itertools.islice(stream, 3))
    places = [(batch.epoch, batch.number, batch.phase) for batch in batches]
    assert places == [(1, 4, 7), (2, 0, 0), (2, 1, 0)]
    assert batches[0].positions.tolist() == list(range(47, 53))
    for batch in batches:
        again = loader.batch(batch.epoch, batch.number, phase=batch.phase)
        np.testing.assert_array_equal(batch.positions, again.positions)
    with loader.epoch(1, 4, phase=7) as stream:
        assert [len(batch) for batch in stream] == [6]
    with pytest.raises(ValueError, match=r"phase must be in \[0, 10\), got 10"):
        loader.endless(phase=10)


def test_classes_come_in_the_shares_that_are_asked_for(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    table = Manifest.from_rows(pictures, [0] + [1] * (COUNT - 1))
    loader = make_loader(Sampler(seed=2, batch_size=8, sampling={0: 3, 1: 1}), table=table)
    assert loader.members is not None
    batches = read(loader, 4)
    for batch in batches:
        assert who(batch) == batch.positions.tolist()
    labels = np.concatenate([batch.labels for batch in batches])
    assert np.bincount(labels).tolist() == [40, 13]


def test_samplings_by_class_need_labels_and_weights_that_fit(
    make_loader: MakeLoader, pictures: dict[str, bytes]
) -> None:
    table = Manifest.from_rows(pictures)
    with pytest.raises(ManifestError, match=r"^from_rows: sampling='balanced' needs labels, and"):
        make_loader(Sampler(sampling="balanced"), table=table)
    with pytest.raises(ValueError, match="sampling has a weight for class 3; the classes are 0 to"):
        make_loader(Sampler(sampling={0: 1, 1: 1, 2: 1, 3: 1}))
    assert make_loader(Sampler(sampling="shuffle"), table=table).members is None


def test_a_random_word_belongs_to_the_sample_whatever_the_batches(make_loader: MakeLoader) -> None:
    def words(batch_size: int, purpose: str = "flip") -> dict[tuple[int, ...], int]:
        sampler = Sampler(seed=6, batch_size=batch_size, sampling="balanced", remainder="carry")
        loader = make_loader(sampler)
        with loader.resume() as stream:
            batches = list(itertools.islice(stream, 106 // batch_size))
        return {
            (int(epoch), int(position), int(turn)): int(word)
            for b in batches
            for epoch, position, turn, word in zip(
                b.sample_epochs, b.positions, b.turns, loader.draws(b, purpose), strict=True
            )
        }

    assert words(8).items() <= words(1).items()
    assert len(set(words(1).values())) == len(words(1)) == 106
    assert not set(words(8).values()) & set(words(8, "crop").values())


def test_what_replaces_a_bad_image_does_not_depend_on_how_batches_are_cut(
    make_loader: MakeLoader,
) -> None:
    def stand_ins(batch_size: int) -> list[tuple[int, int]]:
        sampler = Sampler(seed=5, batch_size=batch_size, remainder="carry")
        with make_loader(sampler, bad={10: b"", 20: b""}).endless() as stream:
            batches = list(itertools.islice(stream, 8 * COUNT // batch_size))
        rows = [
            (int(p), int(s)) for b in batches for p, s in zip(b.positions, b.sources, strict=True)
        ]
        return [(p, s) for p, s in rows if p != s]

    assert len(stand_ins(1)) == 16
    assert stand_ins(2 * COUNT) == stand_ins(8) == stand_ins(1)
