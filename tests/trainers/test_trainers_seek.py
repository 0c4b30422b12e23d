"""A data set that begins at a place: the rest of an epoch, then whole ones."""

from __future__ import annotations

from itertools import chain

import keras
import pytest

from infeed import Cursor, Loader, Sampler, Shard

# Keras has read the length when the place is sought, and says once that there was less.
pytestmark = pytest.mark.filterwarnings("ignore:Your input ran out of data")


class SeekAtBegin(keras.callbacks.Callback):
    """Seeks when a callback that restores a run would."""

    def __init__(self, dataset, cursor, **how):
        super().__init__()
        self.dataset, self.cursor, self.how = dataset, cursor, how

    def on_train_begin(self, logs=None):
        self.dataset.seek(self.cursor, **self.how)


def one_pass(dataset):
    """What Keras would be handed out in an epoch."""
    dataset.log.clear()
    dataset.on_epoch_begin()
    for _ in range(len(dataset)):
        dataset[0]
    dataset.on_epoch_end()
    return list(dataset.log)


@pytest.mark.parametrize("sampling", ["shuffle", "sequential"])
@pytest.mark.parametrize("built", [True, False])
def test_fit_goes_on_with_the_rest_of_the_epoch_and_then_whole_ones(pictures, fit, sampling, built):
    loader = pictures.loader(22, sampling=sampling)
    one, two, three = pictures.epochs(loader, range(1, 4))
    with pictures.LoggedDataset(loader, []) as dataset:
        seek = SeekAtBegin(dataset, Cursor(epoch=1, sample=16))
        logged = fit(
            pictures.model(built=built), dataset, callbacks=[seek], initial_epoch=1, epochs=4
        )
        assert logged.epochs == [one[4:], two, three]
        assert dataset.cursor == Cursor(4)
    assert logged.numbers == [1, 2, 3]


def test_a_look_after_a_seek_takes_nothing_of_the_place(pictures, fit):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        dataset.seek(Cursor(2))
        logged = fit(pictures.model(built=False), dataset, epochs=2)
    assert logged.epochs == pictures.epochs(loader, range(2, 4))


def test_evaluate_in_between_leaves_a_sought_place_to_its_own_data_set(pictures, fit):
    loader = pictures.loader(22)
    validation = pictures.LoggedDataset(pictures.loader(8, sampling="sequential"), [])
    with pictures.LoggedDataset(loader, []) as dataset, validation:
        seek = SeekAtBegin(dataset, Cursor(1, 4))
        logged = fit(
            pictures.model(), dataset, callbacks=[seek], epochs=2, validation_data=validation
        )
    one, two = pictures.epochs(loader, range(1, 3))
    assert logged.epochs == [one[1:], two]


def test_the_cursor_follows_what_is_handed_out(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        dataset.on_epoch_begin()
        places = [dataset.cursor]
        for _ in range(6):
            dataset[0]
            places.append(dataset.cursor)
        dataset.on_epoch_end()
        assert dataset.cursor == Cursor(1)
    assert places == [Cursor(0, sample) for sample in (0, 4, 8, 12, 16, 20)] + [Cursor(1)]


def test_the_length_is_the_rest_until_the_rest_is_done(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        dataset.seek(Cursor(3, 12))
        assert (len(dataset), dataset.num_batches, dataset.epoch) == (3, 3, 3)
        rest = one_pass(dataset)
        assert (len(dataset), dataset.num_batches, dataset.epoch) == (6, 6, 4)
        whole = one_pass(dataset)
    three, four = pictures.epochs(dataset.loader, range(3, 5))
    assert (rest, whole) == (three[3:], four)


def test_random_access_is_to_the_batches_of_the_sought_rest(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        dataset.seek(Cursor(3, 12))
        for index in (2, 0, -1):
            dataset[index]
        with pytest.raises(IndexError, match="there are 3 batches, got index 3"):
            dataset[3]
        rest = one_pass(dataset)
    assert dataset.peeks == [rest[2], rest[0], rest[2]]


def test_a_loop_of_ones_own_takes_the_rest_and_then_whole_epochs(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        dataset.seek(Cursor(3, 12))
        loops = [[pictures.positions_in(x) for x, _ in dataset] for _ in range(2)]
    three, four = pictures.epochs(dataset.loader, range(3, 5))
    assert loops == [three[3:], four]


@pytest.mark.parametrize("remainder", ["keep", "drop", "pad", "carry"])
@pytest.mark.parametrize("sampling", ["shuffle", "sequential"])
def test_a_place_of_another_number_of_shards_goes_on_without_gap_or_repeat(
    pictures, remainder, sampling
):
    def dataset(index, count):
        whole = pictures.loader(46, sampling=sampling, remainder=remainder)
        sampler = Sampler(
            seed=3,
            batch_size=2,
            sampling=sampling,
            remainder=remainder,
            shard=Shard(index, count),
        )
        loader = Loader(whole.manifest, whole.recipe, sampler, storage=whole.storage, threads=1)
        return pictures.LoggedDataset(loader, [], weights=True)

    def records(log):
        return sorted(chain.from_iterable(chain.from_iterable(log)))

    # 5 steps of 3 shards, then the rest of the epoch on 2: 30 samples and 16.
    before = [dataset(index, 3) for index in range(3)]
    for each in before:
        each.on_epoch_begin()
        for _ in range(5):
            each[0]
    assert {each.cursor for each in before} == {Cursor(0, 30)}
    after = [dataset(index, 2) for index in range(2)]
    for each in after:
        each.seek(before[0].cursor)
    assert [len(each) for each in after] == [4, 4]
    seen = [each.log for each in before] + [one_pass(each) for each in after]
    for each in (*before, *after):
        each.close()
    assert records(seen) == list(range(46))


def test_a_place_cannot_be_sought_in_the_middle_of_an_epoch(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        dataset.on_epoch_begin()
        dataset[0]
        with pytest.raises(RuntimeError, match="epoch 0 is being delivered") as caught:
            dataset.seek(Cursor(3))
        assert "call dataset.close() first" in str(caught.value)


def test_a_place_beyond_the_end_of_an_epoch_is_refused_and_nothing_moves(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        with pytest.raises(ValueError, match="lies beyond the 22 samples of an epoch"):
            dataset.seek(Cursor(0, 23))
        assert dataset.cursor == Cursor()


def test_seeking_the_place_where_one_is_keeps_the_batches_that_are_ready(pictures):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        one_pass(dataset)
        dataset.seek(dataset.cursor)
        one_pass(dataset)
        decoded = loader.meter.read().images
    assert decoded <= 2 * 22 + loader.depth * 4
