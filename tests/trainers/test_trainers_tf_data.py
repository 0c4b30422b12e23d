"""The data set as a `tf.data.Dataset`: under every back end that has TensorFlow beside it."""

from __future__ import annotations

import numpy as np
import pytest

from infeed import ImageDataset, LoaderClosedError, Recipe

tf = pytest.importorskip("tensorflow", reason="`make test-backends` installs it")

# Left to look at the shapes, tf.data has read this many batches of a set further, at most.
READ_AHEAD = 6


def positions(pictures, data):
    return [pictures.positions_in(batch[0].numpy()) for batch in data]


def fitted(pictures, data, model=None, **arguments):
    """The positions that each epoch of a `fit` was trained on."""
    logged = pictures.LoggedEpochs([])
    callbacks = [*arguments.pop("callbacks", []), logged]
    # `shuffle` is for arrays; Keras warns that it leaves a tf.data.Dataset as it is.
    arguments = {"shuffle": False, "verbose": 0, "callbacks": callbacks} | arguments
    (model or pictures.model(seen=True)).fit(data, **arguments)
    return logged.trained


def records(epochs):
    return [sorted(position for batch in epoch for position in batch) for epoch in epochs]


def test_the_cardinality_is_the_length_also_behind_further_stages(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = dataset.as_tf_dataset()
        assert int(data.cardinality()) == len(dataset) == 6
        assert int(data.map(lambda x, y: (x, y)).cardinality()) == 6


@pytest.mark.parametrize(
    ("remainder", "rows"), [("keep", None), ("drop", 4), ("pad", 4), ("carry", 4)]
)
def test_shapes_are_known_but_for_the_rows_of_a_last_batch(pictures, remainder, rows):
    loader = pictures.loader(22, remainder=remainder, recipe=Recipe(height=8, width=6))
    with ImageDataset(loader, weights=True) as dataset:
        images, labels, weights = dataset.as_tf_dataset().element_spec
    assert (images.shape, images.dtype) == ((rows, 8, 6, 3), "uint8")
    assert (labels.shape, labels.dtype) == ((rows,), "int32")
    assert (weights.shape, weights.dtype) == ((rows,), "float32")


@pytest.mark.parametrize("label_mode", ["int", "categorical", "binary", None])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batches_are_those_of_the_loader(pictures, label_mode, dtype):
    loader = pictures.loader(10, label_mode=label_mode, dtype=dtype)
    with ImageDataset(loader) as dataset:
        batches = list(dataset.as_tf_dataset())
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        for ours, theirs in zip(loader.batch(0, number).as_tuple(), batch, strict=True):
            assert np.array_equal(ours, theirs.numpy())
            assert ours.dtype == theirs.dtype.as_numpy_dtype


def test_nothing_is_read_before_it_is_iterated(pictures):
    loader = pictures.loader(22)
    with ImageDataset(loader) as dataset:
        iter(dataset.as_tf_dataset())
    assert loader.meter.read().images == 0


def test_an_iteration_that_is_left_early_counts_as_an_epoch(pictures):
    with ImageDataset(pictures.loader(51)) as dataset:
        data = dataset.as_tf_dataset()
        for _ in data.take(READ_AHEAD + 1):
            pass
        again = positions(pictures, data)
    assert [again] == pictures.epochs(dataset.loader, range(1, 2))


def test_two_iterations_at_once_are_refused(pictures):
    # TensorFlow's own errors need not keep the type of ours: look at the pass itself.
    with ImageDataset(pictures.loader(22)) as dataset:
        first, second = dataset._one_pass(0), dataset._one_pass(0)
        next(first)
        next(second)
        with pytest.raises(LoaderClosedError, match="one data set serves one loop at a time"):
            next(first)


def test_fit_takes_class_weights(pictures):
    loader = pictures.loader(40)
    with ImageDataset(loader) as dataset:
        trained = fitted(pictures, dataset.as_tf_dataset(), epochs=2, class_weight={0: 1.0, 1: 2.0})
    assert trained == records(pictures.epochs(loader, range(2)))
