"""Augmentation: after the cache, before float32, and the same whenever a sample is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infeed import Cache, Loader, ResumeError, Sampler

MakeLoader = Callable[..., Loader]


def show_word(image: np.ndarray, word: int) -> None:
    """Leaves the lowest byte of its word in the image's corner."""
    image[0, 0, 0] = word & 0xFF


def negative(image: np.ndarray, word: int) -> np.ndarray:
    return 255 - image


def images(loader: Loader, epoch: int = 0) -> np.ndarray:
    """The images of an epoch in the order of the manifest."""
    with loader.epoch(epoch) as batches:
        made = [(batch.positions, batch.images.copy()) for batch in batches]
    order = np.argsort(np.concatenate([positions for positions, _ in made]))
    return np.concatenate([pixels for _, pixels in made])[order]


def test_an_image_is_changed_in_place_by_a_word_of_its_sample(make_loader: MakeLoader) -> None:
    loader = make_loader(augment=show_word)
    batch = loader.batch(2, 3)
    words = loader.draws(batch, "augment")
    assert batch.images[:, 0, 0, 0].tolist() == (words & 0xFF).tolist()
    assert len(set(words.tolist())) == len(words)


def test_what_it_returns_takes_the_place_of_the_image(make_loader: MakeLoader) -> None:
    plain, changed = images(make_loader()), images(make_loader(augment=negative))
    np.testing.assert_array_equal(changed, 255 - plain)


def test_a_batch_is_the_same_by_itself_with_other_threads_and_in_another_size(
    make_loader: MakeLoader,
) -> None:
    one = images(make_loader(augment=show_word, threads=1), 1)
    sampler = Sampler(seed=3, batch_size=5)
    np.testing.assert_array_equal(images(make_loader(sampler, augment=show_word), 1), one)
    assert (images(make_loader(augment=show_word), 2) != one).any()


def test_the_cache_keeps_images_as_they_were_before(
    make_loader: MakeLoader, tmp_path: Path
) -> None:
    cache = Cache(tmp_path, encoding="raw")
    plain = images(make_loader())
    for _ in range(2):
        loader = make_loader(cache=cache, augment=negative)
        np.testing.assert_array_equal(images(loader), 255 - plain)
    assert loader.cache_counts.hits == len(plain)
    np.testing.assert_array_equal(images(make_loader(cache=cache)), plain)


def test_it_comes_before_float32(make_loader: MakeLoader) -> None:
    plain = images(make_loader())
    floats = images(make_loader(augment=negative, dtype="float32", scale=1 / 255))
    np.testing.assert_array_equal(floats, (255 - plain).astype(np.float32) / 255)


def test_a_masked_row_stays_black_and_a_replaced_one_is_changed(make_loader: MakeLoader) -> None:
    masked = images(make_loader(bad={7: b""}, on_bad_image="mask", augment=negative))
    assert not masked[7].any()
    replaced = images(make_loader(bad={7: b""}, max_bad=1, augment=negative))
    kept = images(make_loader(bad={7: b""}, max_bad=1))
    np.testing.assert_array_equal(replaced, 255 - kept)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda image, word: image.astype(np.float32), "float32 of shape"),
        (lambda image, word: image[:4], r"uint8 of shape \(4, 16, 3\)"),
        (lambda image, word: "image", "got 'image'"),
    ],
)
def test_another_form_is_refused_with_the_record(
    make_loader: MakeLoader, wrong: Callable[..., Any], found: str
) -> None:
    with pytest.raises(TypeError, match="augment must return None or an image") as caught:
        images(make_loader(augment=wrong))
    assert caught.match(found)
    assert "record" in caught.value.__notes__[0]


def test_what_it_raises_reaches_the_reader_with_the_record(make_loader: MakeLoader) -> None:
    def fails(image: np.ndarray, word: int) -> None:
        raise ZeroDivisionError("no luck")

    with pytest.raises(ZeroDivisionError, match="no luck") as caught:
        images(make_loader(augment=fails))
    assert "batch 0 of epoch 0" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "wrong", ["flip", lambda image: image, lambda image, word, more: image, np.zeros((2, 2))]
)
def test_what_cannot_be_called_so_is_refused_at_once(make_loader: MakeLoader, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)augment must be a .* Keras layer"):
        make_loader(augment=wrong)


@pytest.mark.parametrize("right", [lambda *both: None, lambda image, word, more=0: None, min])
def test_what_may_be_called_so_is_taken(make_loader: MakeLoader, right: Any) -> None:
    assert make_loader(augment=right).augment is right


def test_a_run_goes_on_only_with_the_same(make_loader: MakeLoader) -> None:
    state = make_loader(augment=functools.partial(negative)).state_dict()
    make_loader(augment=negative).load_state_dict(state)
    with pytest.raises(ResumeError, match=r"augment: saved '.*negative', now None"):
        make_loader().load_state_dict(state)


def test_a_state_of_before_goes_on_without(make_loader: MakeLoader) -> None:
    state = make_loader().state_dict()
    del state["identity"]["augment"]
    make_loader().load_state_dict(state)


def test_its_time_is_a_stage(make_loader: MakeLoader) -> None:
    loader = make_loader(augment=negative)
    images(loader)
    assert loader.meter.read().seconds["augment"] > 0
