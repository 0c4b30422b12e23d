"""The data set as a `torch.utils.data.DataLoader`: under every back end with PyTorch beside it."""

from __future__ import annotations

import numpy as np
import pytest

from infeed import Cursor, ImageDataset, TooManyBadImagesError

torch = pytest.importorskip("torch", reason="`make test-backends` installs it")


def positions(pictures, data):
    return [pictures.positions_in(images.numpy()) for images, _ in data]


def fitted(pictures, data, **arguments):
    """The positions that each epoch of a `fit` was trained on."""
    logged = pictures.LoggedEpochs([])
    callbacks = [*arguments.pop("callbacks", []), logged]
    # `shuffle` is for arrays; Keras warns that it leaves a DataLoader as it is.
    arguments = {"shuffle": False, "verbose": 0, "callbacks": callbacks} | arguments
    pictures.model(seen=True).fit(data, **arguments)
    return logged.trained


def records(epochs):
    return [sorted(position for batch in epoch for position in batch) for epoch in epochs]


def test_each_iteration_is_the_next_epoch_of_the_right_length(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = dataset.as_torch_loader()
        assert len(data) == len(dataset) == 6
        iterations = [positions(pictures, data) for _ in range(3)]
        assert dataset.epoch == 3
    assert iterations == pictures.epochs(dataset.loader, range(3))


@pytest.mark.parametrize("label_mode", ["int", "categorical", "binary", None])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batches_are_tuples_of_tensors_of_the_loaders_arrays(pictures, label_mode, dtype):
    loader = pictures.loader(10, label_mode=label_mode, dtype=dtype)
    with ImageDataset(loader, weights=True) as dataset:
        batches = list(dataset.as_torch_loader())
    for number, batch in enumerate(batches):
        assert isinstance(batch, tuple)
        arrays = loader.batch(0, number).as_tuple(weights=True)
        for ours, theirs in zip(arrays, batch, strict=True):
            assert np.array_equal(ours, theirs.numpy())
            assert ours.dtype == theirs.numpy().dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="page-locked memory is a copy")
def test_a_tensor_shares_the_aligned_memory_of_the_batch(pictures):
    from infeed.trainers.torch.tensors import to_tensors

    arrays = pictures.loader(10).batch(0, 0).as_tuple(weights=True)
    for array, tensor in zip(arrays, to_tensors(arrays), strict=True):
        assert tensor.data_ptr() == array.ctypes.data


def test_a_tensor_keeps_its_pixels_when_later_batches_come(pictures):
    with ImageDataset(pictures.loader(48)) as dataset:
        kept = [images for images, _ in dataset.as_torch_loader()]
    assert [pictures.positions_in(images.numpy()) for images in kept] == pictures.epochs(
        dataset.loader, range(1)
    )[0]


def test_it_knows_its_data_set(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        assert dataset.as_torch_loader().infeed_dataset is dataset


def test_after_a_seek_comes_the_rest_of_the_epoch_and_then_whole_ones(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = dataset.as_torch_loader()
        dataset.seek(Cursor(1, 16))
        iterations = [positions(pictures, data) for _ in range(3)]
    one, two, three = pictures.epochs(dataset.loader, range(1, 4))
    assert iterations == [one[4:], two, three]


def test_a_look_of_two_batches_is_rewound_once_and_any_other_early_end_is_an_epoch(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = dataset.as_torch_loader()
        firsts = []
        for taken in (1, 2, 3):
            batches = iter(data)
            firsts.append([pictures.positions_in(next(batches)[0].numpy()) for _ in range(taken)])
    zero, one = pictures.epochs(dataset.loader, range(2))
    assert firsts == [zero[:1], zero[:2], one[:3]]


def test_fit_trains_every_epoch_whole_and_in_order(pictures):
    loader = pictures.loader(22)
    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, dataset.as_torch_loader(), epochs=3)
    assert trained == records(pictures.epochs(loader, range(3)))


def test_epochs_of_steps_per_epoch_go_on_through_the_data(pictures):
    loader = pictures.loader(24)
    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, dataset.as_torch_loader(), epochs=4, steps_per_epoch=3)
    stream = [batch for epoch in pictures.epochs(loader, range(2)) for batch in epoch]
    assert trained == records([stream[3 * epoch : 3 * epoch + 3] for epoch in range(4)])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_fit_goes_on_from_a_place_that_a_callback_seeks(pictures):
    import keras

    loader = pictures.loader(22)

    class Seek(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            dataset.seek(Cursor(1, 12))

    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, dataset.as_torch_loader(), epochs=3, callbacks=[Seek()])
    one, two, three = pictures.epochs(loader, range(1, 4))
    assert trained == records([one[3:], two, three])


def test_validation_and_evaluate_take_the_whole_set_each_time(pictures):
    with (
        ImageDataset(pictures.loader(40)) as train,
        ImageDataset(pictures.loader(22, sampling="sequential")) as validation,
    ):
        data = validation.as_torch_loader()
        model = pictures.model()
        losses = model.fit(
            train.as_torch_loader(), validation_data=data, epochs=2, verbose=0, shuffle=False
        ).history["val_loss"]
        assert losses[-1] == pytest.approx(model.evaluate(data, verbose=0), rel=1e-5)
        grey = pictures.grey_model().predict(data, verbose=0)
    assert (grey[:, 0] / pictures.STEP).tolist() == pytest.approx(list(range(22)))


def test_errors_come_out_of_the_block_around_fit_with_their_type(pictures):
    loader = pictures.loader(22, bad=(1, 2, 3), max_bad=1)
    with (
        pytest.raises(TooManyBadImagesError, match=r"[23] bad images, and max_bad allows 1"),
        ImageDataset(loader) as dataset,
    ):
        fitted(pictures, dataset.as_torch_loader())
