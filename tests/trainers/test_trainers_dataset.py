"""The data set by itself: as a sequence, in a loop of one's own, between epochs."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from infeed import ImageDataset, Recipe


def our_threads():
    """Those that still run; one that is about to end may take its last step."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("infeed-")]
    for thread in threads:
        thread.join(timeout=0.2)  # less than the second after which an idle one ends by itself
    return [thread for thread in threads if thread.is_alive()]


@pytest.fixture
def dataset(pictures):
    with pictures.LoggedDataset(pictures.loader(22), []) as dataset:
        yield dataset


@pytest.mark.parametrize(
    ("remainder", "length"), [("keep", 6), ("drop", 5), ("pad", 6), ("carry", 5)]
)
def test_the_length_is_the_batches_of_the_coming_epoch(pictures, remainder, length):
    with pictures.LoggedDataset(pictures.loader(22, remainder=remainder), []) as dataset:
        assert len(dataset) == dataset.num_batches == length


def test_random_access_outside_an_epoch_is_the_batch_that_the_epoch_delivers(dataset):
    outside = [dataset[index] for index in (4, 0, 5, 2, 1, 3)]
    dataset.on_epoch_begin()
    inside = [dataset[0] for _ in range(len(dataset))]
    dataset.on_epoch_end()
    for number, batch in zip((4, 0, 5, 2, 1, 3), outside, strict=True):
        for one, other in zip(batch, inside[number], strict=True):
            assert np.array_equal(one, other)


def test_in_a_pass_pytorch_gets_tensors_and_everything_else_is_arrays(dataset, pictures):
    dataset.on_epoch_begin()
    inside = dataset[0]
    dataset.close()
    outside, looped = dataset[0], next(iter(dataset))
    forms = {type(part).__name__ for part in inside}
    assert forms == {"Tensor" if pictures.BACKEND == "torch" else "ndarray"}
    assert {type(part) for part in (*outside, *looped)} == {np.ndarray}


def test_random_access_counts_from_the_end_for_negative_numbers_and_has_ends(dataset):
    assert np.array_equal(dataset[-1][0], dataset[5][0])
    for outside in (6, -7):
        with pytest.raises(IndexError):
            dataset[outside]


def test_random_access_moves_nothing(dataset, pictures):
    dataset[3]
    dataset[3]
    assert dataset.epoch == 0
    assert dataset.images_served == 0
    dataset.log.clear()
    assert [pictures.positions_in(x) for x, _ in dataset] == pictures.epochs(
        dataset.loader, range(1)
    )[0]


def test_a_loop_is_one_epoch_and_the_next_loop_the_next(dataset, pictures):
    loops = [[pictures.positions_in(x) for x, _ in dataset] for _ in range(3)]
    assert loops == pictures.epochs(dataset.loader, range(3))
    assert dataset.epoch == 3


def test_a_loop_makes_no_batch_that_it_does_not_deliver(dataset):
    for _ in dataset:
        pass
    assert dataset.loader.meter.read().images == 22


def test_a_loop_sums_up_its_bad_images(pictures, caplog):
    for _ in ImageDataset(pictures.loader(22, bad=(1,), max_bad=1)):
        pass
    assert "1 bad image so far: 1 " in caplog.text


def test_a_loop_that_is_left_early_ends_its_threads_and_counts_no_epoch(dataset):
    for _ in dataset:
        break
    gc.collect()
    assert not our_threads()
    assert dataset.epoch == 0


def test_two_loops_at_once_do_not_disturb_each_other(dataset, pictures):
    pairs = [
        (pictures.positions_in(a), pictures.positions_in(b))
        for (a, _), (b, _) in zip(dataset, dataset, strict=True)
    ]
    (epoch,) = pictures.epochs(dataset.loader, range(1))
    assert pairs == [(batch, batch) for batch in epoch]


def test_the_epoch_setter_starts_elsewhere_even_when_other_batches_are_ready(dataset, pictures):
    dataset.on_epoch_begin()
    for _ in range(len(dataset)):
        dataset[0]
    dataset.on_epoch_end()  # the first batches of epoch 1 are under way now
    dataset.epoch = 7
    dataset.log.clear()
    dataset.on_epoch_begin()
    for _ in range(len(dataset)):
        dataset[0]
    dataset.on_epoch_end()
    assert [dataset.log] == pictures.epochs(dataset.loader, range(7, 8))
    assert dataset.epoch == 8


def test_the_epoch_may_still_be_set_when_nothing_of_it_was_delivered(dataset, pictures):
    dataset.on_epoch_begin()
    dataset.epoch = 4
    for _ in range(len(dataset)):
        dataset[0]
    dataset.on_epoch_end()
    assert [dataset.log] == pictures.epochs(dataset.loader, range(4, 5))
    assert dataset.epoch == 5


def test_the_epoch_cannot_be_set_in_the_middle_of_one(dataset):
    dataset.on_epoch_begin()
    dataset[0]
    with pytest.raises(RuntimeError, match="epoch 0 is being delivered") as caught:
        dataset.epoch = 3
    assert "close()" in str(caught.value)
    dataset.close()
    dataset.epoch = 3
    assert dataset.epoch == 3


def test_an_epoch_is_not_negative(dataset):
    with pytest.raises(ValueError, match="epoch must be 0 or more, got -1"):
        dataset.epoch = -1


def test_a_closed_data_set_can_be_used_again(dataset, pictures):
    dataset.on_epoch_begin()
    dataset[0]
    dataset.close()
    dataset.log.clear()
    dataset.on_epoch_begin()
    for _ in range(len(dataset)):
        dataset[0]
    dataset.on_epoch_end()
    assert [dataset.log] == pictures.epochs(dataset.loader, range(1))


def test_a_data_set_that_nobody_holds_ends_its_threads(pictures):
    dataset = pictures.LoggedDataset(pictures.loader(48), [])
    dataset.on_epoch_begin()
    dataset[0]
    del dataset
    gc.collect()
    assert not our_threads()


def test_images_served_leaves_padding_out(pictures):
    loader = pictures.loader(22, remainder="pad")
    with pictures.LoggedDataset(loader, [], weights=True) as dataset:
        dataset.on_epoch_begin()
        for _ in range(len(dataset)):
            dataset[0]
        dataset.on_epoch_end()
        assert dataset.images_served == 22


def test_class_weight_is_that_of_scikit_learns_balanced(pictures):
    with pictures.LoggedDataset(pictures.loader(7, classes=2), []) as dataset:
        assert dataset.class_weight == {0: 7 / (2 * 4), 1: 7 / (2 * 3)}


def test_class_weight_needs_labels(pictures):
    dataset = pictures.LoggedDataset(pictures.loader(labelled=False), [])
    with pytest.raises(ValueError, match="class weights need labels, and this manifest has none"):
        _ = dataset.class_weight


@pytest.mark.parametrize(
    ("label_mode", "dtype", "shape"),
    [("int", "int32", (4,)), ("categorical", "float32", (4, 2)), ("binary", "float32", (4, 1))],
)
def test_labels_have_the_form_of_their_mode(pictures, label_mode, dtype, shape):
    loader = pictures.loader(label_mode=label_mode, sampling="sequential")
    _, labels = pictures.LoggedDataset(loader, [])[0]
    assert (labels.dtype, labels.shape) == (dtype, shape)
    numbers = labels.argmax(axis=1) if label_mode == "categorical" else labels.ravel()
    assert numbers.tolist() == [0, 1, 0, 1]


def test_without_labels_a_batch_is_the_images_alone(pictures):
    for loader in (pictures.loader(label_mode=None), pictures.loader(labelled=False)):
        assert len(pictures.LoggedDataset(loader, [])[0]) == 1


@pytest.mark.parametrize(
    ("color_mode", "channels"), [("rgb", 3), ("bgr", 3), ("rgba", 4), ("grayscale", 1)]
)
def test_images_have_the_channels_of_their_color_mode(pictures, color_mode, channels):
    recipe = Recipe(height=8, width=6, color_mode=color_mode)
    images, _ = pictures.LoggedDataset(pictures.loader(recipe=recipe), [])[0]
    assert (images.shape, images.dtype) == ((4, 8, 6, channels), "uint8")


def test_float32_pixels_are_scaled_exactly(pictures):
    loader = pictures.loader(dtype="float32", scale=1 / 255, sampling="sequential")
    images, _ = pictures.LoggedDataset(loader, [])[0]
    expected = np.arange(4, dtype=np.float32) * np.float32(pictures.STEP) / np.float32(255)
    assert images.dtype == np.float32
    assert np.array_equal(images[:, 0, 0, 0], expected)


def test_carry_that_leaves_epochs_without_a_batch_is_refused(pictures):
    with pytest.raises(
        ValueError, match=r"batches of 8 on 1 shard.* epochs of 5 records"
    ) as caught:
        pictures.LoggedDataset(pictures.loader(5, batch_size=8, remainder="carry"), [])
    assert "remainder='keep'" in str(caught.value)


def test_dropping_the_only_batch_is_refused(pictures):
    with pytest.raises(ValueError, match="remainder='drop' with batch_size=8 leaves no batch of 5"):
        pictures.LoggedDataset(pictures.loader(5, batch_size=8, remainder="drop"), [])


def test_the_repr_tells_size_classes_and_order(dataset):
    assert repr(dataset).startswith("ImageDataset(22 images of 2 classes, 6 batches, Recipe(")
