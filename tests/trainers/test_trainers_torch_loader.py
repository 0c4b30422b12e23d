"""The data set as a `torch.utils.data.DataLoader`: under every back end with PyTorch beside it."""

from __future__ import annotations

import numpy as np
import pytest

from infeed import ImageDataset

torch = pytest.importorskip("torch", reason="`make test-backends` installs it")


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


def test_a_look_of_two_batches_is_rewound_once_and_any_other_early_end_is_an_epoch(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        data = dataset.as_torch_loader()
        firsts = []
        for taken in (1, 2, 3):
            batches = iter(data)
            firsts.append([pictures.positions_in(next(batches)[0].numpy()) for _ in range(taken)])
    zero, one = pictures.epochs(dataset.loader, range(2))
    assert firsts == [zero[:1], zero[:2], one[:3]]


def test_its_length_is_that_of_the_data_set(pictures):
    with ImageDataset(pictures.loader(22)) as dataset:
        assert len(dataset.as_torch_loader()) == len(dataset) == 6


# JAX says so of any fork once it has computed something.
@pytest.mark.filterwarnings(r"ignore:os.fork\(\) was called:RuntimeWarning")
def test_workers_of_a_data_loader_are_refused_instead_of_delivering_everything_twice(pictures):
    with ImageDataset(pictures.loader(10)) as dataset:
        batches = dataset.as_torch_loader().dataset
        with pytest.raises(RuntimeError, match="num_workers=2: each worker would deliver every"):
            list(torch.utils.data.DataLoader(batches, batch_size=None, num_workers=2))
