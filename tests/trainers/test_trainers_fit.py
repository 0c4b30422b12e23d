"""What `fit` is fed: every record once an epoch, in our order, whatever Keras does around it."""

from __future__ import annotations

import threading
import traceback
from itertools import chain

import keras
import numpy as np
import pytest

from infeed import BadImageError, ImageDataset, TooManyBadImagesError


def records(epoch):
    return sorted(chain.from_iterable(epoch))


class StopAt(keras.callbacks.Callback):
    """Raises in the middle of an epoch."""

    def __init__(self, batch, error):
        super().__init__()
        self.batch, self.error = batch, error

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            raise self.error


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("built", [True, False])
def test_every_epoch_of_fit_delivers_every_record_exactly_once(pictures, fit, shuffle, built):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(built=built), dataset, epochs=3, shuffle=shuffle)
    assert [records(epoch) for epoch in logged.epochs] == [list(range(22))] * 3


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_is_fed_in_our_order_whatever_its_shuffle_argument(pictures, fit, shuffle):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(), dataset, epochs=2, shuffle=shuffle)
    assert logged.epochs == pictures.epochs(loader, range(2))


def test_the_look_at_the_shapes_neither_loses_nor_repeats_a_batch(pictures, fit):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(built=False), dataset, epochs=2)
    first = pictures.epochs(loader, range(1))[0]
    assert logged.looked == first[: pictures.LOOKED_AT]
    assert dataset.peeks == first[: pictures.PEEKED_AT]
    assert logged.epochs == pictures.epochs(loader, range(2))


def test_a_second_fit_goes_on_with_the_next_epoch(pictures, fit):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        fit(pictures.model(), dataset, epochs=2)
        logged = fit(pictures.model(built=False), dataset, epochs=2)
    assert logged.epochs == pictures.epochs(loader, range(2, 4))


def test_carried_remainders_make_full_batches_only_and_lose_nothing(pictures, fit):
    # 22 = 5 * 4 + 2: Keras' epochs are 5 batches each, cut from one stream without a gap.
    loader = pictures.loader(22, remainder="carry")
    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(), dataset, epochs=11)
        fifth = dataset[0]
    assert [len(epoch) for epoch in logged.epochs] == [5] * 11
    stream = list(chain.from_iterable(logged.epochs))
    assert {len(batch) for batch in stream} == {4}
    assert records(stream) == sorted([*range(22)] * 10)  # 11 * 5 * 4 = 10 * 22
    assert fifth[0].shape[0] == 4


def test_the_whole_validation_set_is_evaluated_in_order_after_every_epoch(pictures, fit):
    train = pictures.LoggedDataset(pictures.loader(8), [])
    validation = pictures.LoggedDataset(pictures.loader(11, sampling="sequential"), [])
    with train, validation:
        fit(pictures.model(built=False), train, epochs=3, validation_data=validation)
    once = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert validation.log == once * 3


def test_the_next_epoch_is_made_ready_while_keras_validates(pictures):
    loader = pictures.loader(22)
    train = pictures.LoggedDataset(loader, [])
    validation = pictures.LoggedDataset(pictures.loader(8, sampling="sequential"), [])
    made = []

    class AtValidation(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            made.append(loader.meter.read().images)

        def on_test_begin(self, logs=None):
            # They end by themselves when nobody asks for more: all that fits is made then.
            for thread in threading.enumerate():
                if thread.name.startswith("infeed-"):
                    thread.join()
            made.append(loader.meter.read().images)

    with train, validation:
        pictures.model().fit(
            train, validation_data=validation, epochs=1, verbose=0, callbacks=[AtValidation()]
        )
    before, at_validation = made
    assert at_validation - before == 22 + loader.depth * 4


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("built", [True, False])
def test_epochs_of_steps_per_epoch_go_on_through_the_data(pictures, fit, steps, built):
    loader = pictures.loader(24)  # 6 batches
    stream = list(chain.from_iterable(pictures.epochs(loader, range(3))))
    with pictures.LoggedDataset(loader, []) as dataset:
        model = pictures.model(built=built, seen=True)
        logged = fit(model, dataset, epochs=8, steps_per_epoch=steps)
    whole = 18 // steps
    assert logged.trained[:whole] == [
        sorted(chain.from_iterable(stream[epoch * steps : (epoch + 1) * steps]))
        for epoch in range(min(8, whole))
    ]


def test_every_image_comes_once_a_pass_whatever_steps_per_epoch(pictures, fit):
    with pictures.LoggedDataset(pictures.loader(24), []) as dataset:
        logged = fit(pictures.model(seen=True), dataset, epochs=6, steps_per_epoch=2)
    trained = list(chain.from_iterable(logged.trained))
    assert sorted(trained[:24]) == sorted(trained[24:]) == list(range(24))


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("same_model", [True, False])
def test_a_fit_after_one_with_steps_per_epoch_begins_with_a_whole_new_epoch(
    pictures, fit, steps, same_model
):
    loader = pictures.loader(24)
    model = pictures.model()
    with pictures.LoggedDataset(loader, []) as dataset:
        fit(model, dataset, epochs=1, steps_per_epoch=steps)
        logged = fit(model if same_model else pictures.model(), dataset, epochs=2)
    assert logged.epochs == pictures.epochs(loader, range(1, 3))


def test_validation_steps_take_the_same_batches_each_time(pictures):
    train = pictures.LoggedDataset(pictures.loader(8), [])
    validation = pictures.LoggedDataset(pictures.loader(24, sampling="sequential"), [])
    model = pictures.model(optimizer=keras.optimizers.SGD(0.0))
    with train, validation:
        losses = model.fit(
            train, epochs=3, validation_data=validation, validation_steps=2, verbose=0
        ).history["val_loss"]
        once = model.evaluate(validation, steps=2, verbose=0)
        first = pictures.LoggedDataset(pictures.loader(8, sampling="sequential"), [])
        assert losses == pytest.approx([once] * 3, rel=1e-5)
        assert once == pytest.approx(model.evaluate(first, verbose=0), rel=1e-5)


def test_predict_with_steps_takes_the_first_batches_each_time(pictures):
    with pictures.LoggedDataset(pictures.loader(24, sampling="sequential"), []) as dataset:
        model = pictures.grey_model()
        predicted = [model.predict(dataset, steps=2, verbose=0)[:, 0] for _ in range(2)]
    for rows in predicted:
        assert (rows / pictures.STEP).tolist() == pytest.approx(list(range(8)))


def test_initial_epoch_with_dataset_epoch_trains_what_the_whole_run_would_have(pictures, fit):
    whole = pictures.LoggedDataset(pictures.loader(10), [])
    rest = pictures.LoggedDataset(pictures.loader(10), [])
    with whole, rest:
        all_epochs = fit(pictures.model(), whole, epochs=4).epochs
        rest.epoch = 2
        logged = fit(pictures.model(built=False), rest, initial_epoch=2, epochs=4)
    assert logged.numbers == [2, 3]
    assert logged.epochs == all_epochs[2:]


def test_the_epoch_may_be_set_from_a_callback_at_the_start_of_an_epoch(pictures, fit):
    loader = pictures.loader(10)

    class SkipOne(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            dataset.epoch = epoch * 2

    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(), dataset, epochs=3, callbacks=[SkipOne()])
    zero, _, two, _, four = pictures.epochs(loader, range(5))
    assert logged.epochs == [zero, two, four]


@pytest.mark.parametrize("error", [RuntimeError("enough"), KeyboardInterrupt()])
def test_fit_after_a_fit_that_was_left_by_an_exception_trains_whole_epochs(pictures, fit, error):
    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        model = pictures.model()
        with pytest.raises(type(error)):
            model.fit(dataset, epochs=2, verbose=0, callbacks=[StopAt(3, error)])
        logged = fit(model, dataset, epochs=2)
    assert logged.epochs == pictures.epochs(loader, range(1, 3))


def test_fit_after_a_fit_that_was_told_to_stop_mid_epoch_trains_whole_epochs(pictures, fit):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    loader = pictures.loader(22)
    with pictures.LoggedDataset(loader, []) as dataset:
        stopped = fit(pictures.model(seen=True), dataset, epochs=2, callbacks=[Stop()])
        logged = fit(pictures.model(), dataset, epochs=1)
    assert stopped.trained == [records(pictures.epochs(loader, range(1))[0][:4])]
    assert logged.epochs == pictures.epochs(loader, range(1, 2))


def test_threads_end_at_once_when_a_data_set_is_closed_mid_epoch(pictures):
    dataset = pictures.LoggedDataset(pictures.loader(48), [])
    with pytest.raises(RuntimeError, match="enough"):
        pictures.model().fit(dataset, verbose=0, callbacks=[StopAt(1, RuntimeError("enough"))])
    dataset.close()
    dataset.close()
    for thread in threading.enumerate():
        if thread.name.startswith("infeed-"):
            thread.join(timeout=0.2)  # an idle one would end by itself after a second
            assert not thread.is_alive()


def test_errors_of_the_data_set_keep_type_and_text_through_fit(pictures):
    loader = pictures.loader(22, bad=(1, 2, 3), max_bad=1)
    dataset = pictures.LoggedDataset(loader, [])
    with (
        pytest.raises(TooManyBadImagesError, match=r"[23] bad images, and max_bad allows 1"),
        dataset,
    ):
        pictures.model().fit(dataset, epochs=3, verbose=0)


def test_the_last_error_of_a_data_set_is_kept_whatever_comes_out_of_fit(pictures):
    loader = pictures.loader(22, bad=(1, 2, 3), max_bad=1)
    with pictures.LoggedDataset(loader, []) as dataset:
        assert dataset.error is None
        with pytest.raises(Exception, match=r"[23] bad images, and max_bad allows 1"):
            pictures.model().fit(dataset, epochs=3, verbose=0)
        assert isinstance(dataset.error, TooManyBadImagesError)


def test_the_error_that_a_closed_data_set_keeps_has_let_go_of_the_batch(pictures):
    loader = pictures.loader(22, bad=(1,), on_bad_image="raise", sampling="sequential")
    dataset = ImageDataset(loader)
    dataset.on_epoch_begin()
    with pytest.raises(BadImageError):
        dataset[0]
    dataset.close()
    frames = [frame for frame, _ in traceback.walk_tb(dataset.error.__traceback__)]
    ours = [frame for frame in frames if "batch_work" in frame.f_code.co_filename]
    assert ours  # where it happened is still told
    assert not any(frame.f_locals for frame in ours)


def test_an_error_that_is_not_the_data_sets_comes_out_of_its_block_as_it_is(pictures):
    loader = pictures.loader(22, bad=(1, 2, 3), max_bad=1)
    dataset = pictures.LoggedDataset(loader, [])
    with pytest.raises(Exception, match=r"[23] bad images"):
        pictures.model().fit(dataset, verbose=0)
    with pytest.raises(ZeroDivisionError), dataset:
        raise ZeroDivisionError


def test_a_bad_image_that_stops_fit_is_named_with_record_and_batch(pictures):
    loader = pictures.loader(22, bad=(13,), on_bad_image="raise", sampling="sequential")
    with (
        pytest.raises(BadImageError) as caught,
        pictures.LoggedDataset(loader, []) as dataset,
    ):
        pictures.model().fit(dataset, verbose=0)
    assert caught.value.reason == "not_an_image"
    assert caught.value.__notes__ == ["record 13, '叶 13.png', batch 3 of epoch 0"]


def test_a_bad_image_in_training_is_replaced_by_one_of_its_class(pictures, fit):
    loader = pictures.loader(22, bad=(13,), classes=2)
    with pictures.LoggedDataset(loader, []) as dataset:
        (epoch,) = fit(pictures.model(), dataset, epochs=1).epochs
    seen = records(epoch)
    (twice,) = {position for position in seen if seen.count(position) == 2}
    assert twice % 2 == 13 % 2
    assert sorted([*seen, 13]) == sorted([*range(22), twice])
    assert [bad.uri for bad in loader.quarantine.bad] == ["叶 13.png"]


def test_a_masked_bad_image_does_not_count_in_the_weighted_metrics(pictures):
    loader = pictures.loader(9, bad=(4,), sampling="sequential", on_bad_image="mask")
    model = pictures.grey_model(weighted_metrics=["mae"])
    with pictures.LoggedDataset(loader, [], weights=True) as dataset:
        measured = model.evaluate(dataset, verbose=0, return_dict=True)
    errors = [abs(p * pictures.STEP - p % 2) for p in range(9) if p != 4]
    assert measured["mae"] == pytest.approx(np.mean(errors), rel=1e-6)


def test_padded_rows_do_not_count_in_the_weighted_metrics(pictures):
    loader = pictures.loader(9, sampling="sequential", remainder="pad")
    model = pictures.grey_model(weighted_metrics=["mae"])
    with pictures.LoggedDataset(loader, [], weights=True) as dataset:
        measured = model.evaluate(dataset, verbose=0, return_dict=True)
    assert [len(batch) for batch in dataset.log[-3:]] == [4, 4, 4]
    errors = [abs(p * pictures.STEP - p % 2) for p in range(9)]
    assert measured["mae"] == pytest.approx(np.mean(errors), rel=1e-6)


def test_the_weights_of_the_manifest_weigh_the_metrics(pictures):
    weights = [0.0, 1.0, 2.5, 1.0, 0.5, 4.0, 1.0]
    loader = pictures.loader(7, weights=weights)
    model = pictures.grey_model(weighted_metrics=["mae"])
    with pictures.LoggedDataset(loader, [], weights=True) as dataset:
        measured = model.evaluate(dataset, verbose=0, return_dict=True)
    errors = [abs(p * pictures.STEP - p % 2) for p in range(7)]
    assert measured["mae"] == pytest.approx(np.average(errors, weights=weights), rel=1e-6)


def test_evaluate_takes_the_whole_set_each_time(pictures):
    loader = pictures.loader(11, sampling="sequential")
    model = pictures.grey_model(metrics=["mae"])
    with pictures.LoggedDataset(loader, []) as dataset:
        first = model.evaluate(dataset, verbose=0, return_dict=True)
        second = model.evaluate(dataset, verbose=0, return_dict=True)
    errors = [abs(p * pictures.STEP - p % 2) for p in range(11)]
    assert first["mae"] == pytest.approx(np.mean(errors), rel=1e-6)
    assert first == second


@pytest.mark.parametrize("labelled", [True, False])
def test_predict_has_a_row_for_each_record_in_the_order_of_the_manifest(pictures, labelled):
    loader = pictures.loader(11, sampling="sequential", labelled=labelled)
    model = pictures.grey_model()
    with pictures.LoggedDataset(loader, []) as dataset:
        predicted = [model.predict(dataset, verbose=0) for _ in range(2)]
    for rows in predicted:
        assert rows.shape == (11, 1)
        assert (rows[:, 0] / pictures.STEP).tolist() == pytest.approx(list(range(11)))


def test_class_weight_of_zero_everywhere_changes_no_weight_of_the_model(pictures, fit):
    model = pictures.model()
    before = pictures.weights_of(model)
    with pictures.LoggedDataset(pictures.loader(8), []) as dataset:
        fit(model, dataset, class_weight={0: 0.0, 1: 0.0})
        unchanged = pictures.weights_of(model)
        fit(model, dataset, class_weight=dataset.class_weight)
    assert all(np.array_equal(a, b) for a, b in zip(before, unchanged, strict=True))
    assert not all(
        np.array_equal(a, b) for a, b in zip(before, pictures.weights_of(model), strict=True)
    )


@pytest.mark.parametrize(
    ("label_mode", "loss"),
    [
        ("int", "sparse_categorical_crossentropy"),
        ("categorical", "categorical_crossentropy"),
    ],
)
def test_fit_takes_every_label_mode(pictures, fit, label_mode, loss):
    with pictures.LoggedDataset(pictures.loader(8, label_mode=label_mode), []) as dataset:
        logged = fit(pictures.model(loss=loss), dataset)
    assert records(logged.epochs[0]) == list(range(8))


def test_two_runs_of_the_same_seed_end_with_the_same_weights(pictures, fit):
    ends = []
    for threads in (1, 3):
        keras.utils.set_random_seed(5)
        loader = pictures.loader(22)
        loader.threads = threads
        model = pictures.model(built=False)
        with pictures.LoggedDataset(loader, []) as dataset:
            fit(model, dataset, epochs=2)
        ends.append(pictures.weights_of(model))
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))


def test_an_evaluation_decodes_every_image_once_and_no_more(pictures):
    loader = pictures.loader(22, sampling="sequential")
    model = pictures.model()
    with pictures.LoggedDataset(loader, []) as dataset:
        model.evaluate(dataset, verbose=0)
        before = loader.meter.read().images
        model.evaluate(dataset, verbose=0)
        evaluated = loader.meter.read().images
        assert evaluated - before == 22 + pictures.PEEKED_AT * 4
        for _ in dataset:
            pass
    assert loader.meter.read().images - evaluated == 22


@pytest.mark.parametrize("records", [1, 3, 4])
def test_a_set_of_one_batch_is_trained_from_epoch_0_on(pictures, fit, records):
    loader = pictures.loader(records)
    with pictures.LoggedDataset(loader, []) as dataset:
        logged = fit(pictures.model(built=False), dataset, epochs=3)
        assert dataset.epoch == 3
    assert logged.epochs == pictures.epochs(loader, range(3))
