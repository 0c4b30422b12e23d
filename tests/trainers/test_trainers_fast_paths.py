"""What `as_tf_dataset()` and `as_torch_loader()` have in common: one contract, for both."""

from __future__ import annotations

from importlib.util import find_spec

import keras
import pytest

from infeed import Cursor, ImageDataset, TooManyBadImagesError


@pytest.fixture(
    params=[
        pytest.param(way, marks=pytest.mark.skipif(find_spec(package) is None, reason=package))
        for way, package in (("as_tf_dataset", "tensorflow"), ("as_torch_loader", "torch"))
    ]
)
def way(request):
    """The name of the method; its package is there in `make test-backends`."""
    return request.param


def positions(pictures, data):
    return [pictures.positions_in(batch[0].numpy()) for batch in data]


def fitted(pictures, data, **arguments):
    """The positions that each epoch of a `fit` was trained on."""
    logged = pictures.LoggedEpochs([])
    callbacks = [*arguments.pop("callbacks", []), logged]
    # `shuffle` is for arrays; Keras warns that it leaves such data as it is.
    arguments = {"shuffle": False, "verbose": 0, "callbacks": callbacks} | arguments
    pictures.model(seen=True).fit(data, **arguments)
    return logged.trained


def records(epochs):
    return [sorted(position for batch in epoch for position in batch) for epoch in epochs]


def test_each_iteration_is_the_next_epoch(pictures, way):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = getattr(dataset, way)()
        iterations = [positions(pictures, data) for _ in range(3)]
        assert dataset.epoch == 3
    assert iterations == pictures.epochs(dataset.loader, range(3))


def test_it_knows_its_data_set(pictures, way):
    with ImageDataset(pictures.loader(22)) as dataset:
        assert getattr(dataset, way)().infeed_dataset is dataset


def test_after_a_seek_comes_the_rest_of_the_epoch_and_then_whole_ones(pictures, way):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = getattr(dataset, way)()
        dataset.seek(Cursor(1, 16))
        iterations = [positions(pictures, data) for _ in range(3)]
    one, two, three = pictures.epochs(dataset.loader, range(1, 4))
    assert iterations == [one[4:], two, three]


def test_epochs_of_steps_per_epoch_go_on_through_the_data(pictures, way):
    loader = pictures.loader(48)
    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, getattr(dataset, way)(), epochs=6, steps_per_epoch=4)
    stream = [batch for epoch in pictures.epochs(loader, range(2)) for batch in epoch]
    assert trained == records([stream[4 * epoch : 4 * epoch + 4] for epoch in range(6)])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_fit_goes_on_from_a_place_that_a_callback_seeks(pictures, way):
    loader = pictures.loader(40)

    class Seek(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            dataset.seek(Cursor(1, 12))

    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, getattr(dataset, way)(), epochs=3, callbacks=[Seek()])
    one, two, three = pictures.epochs(loader, range(1, 4))
    assert trained == records([one[3:], two, three])


def test_validation_and_evaluate_take_the_whole_set_each_time(pictures, way):
    with (
        ImageDataset(pictures.loader(40)) as train,
        ImageDataset(pictures.loader(22, sampling="sequential")) as validation,
    ):
        data = getattr(validation, way)()
        model = pictures.model()
        losses = model.fit(
            getattr(train, way)(), validation_data=data, epochs=2, verbose=0, shuffle=False
        ).history["val_loss"]
        assert losses[-1] == pytest.approx(model.evaluate(data, verbose=0), rel=1e-5)
        grey = pictures.grey_model().predict(data, verbose=0)
    assert (grey[:, 0] / pictures.STEP).tolist() == pytest.approx(list(range(22)))


def test_errors_come_out_of_the_block_around_fit_with_their_type(pictures, way):
    loader = pictures.loader(22, bad=(1, 2, 3), max_bad=1)
    with (
        pytest.raises(TooManyBadImagesError, match=r"[23] bad images, and max_bad allows 1"),
        ImageDataset(loader) as dataset,
    ):
        fitted(pictures, getattr(dataset, way)())


def test_fit_trains_every_epoch_whole_and_in_order(pictures, way):
    loader = pictures.loader(40)
    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, getattr(dataset, way)(), epochs=3)
    assert trained == records(pictures.epochs(loader, range(3)))
