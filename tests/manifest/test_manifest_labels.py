"""Promises of the label modes."""

from __future__ import annotations

import numpy as np
import pytest

from infeed.manifest.labels import check_label_mode, encode

LABELS = np.array([2, 0, 1, 2], np.int32)


def test_int_labels_are_the_labels():
    assert encode(LABELS, "int", 3) is LABELS


def test_categorical_labels_are_one_hot_float32():
    encoded = encode(LABELS, "categorical", 4)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == np.eye(4)[LABELS].tolist()


def test_binary_labels_are_a_float32_column():
    encoded = encode(np.array([1, 0], np.int32), "binary", 2)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[1.0], [0.0]]


def test_modes_that_do_not_fit_are_refused_with_a_cure():
    with pytest.raises(ValueError, match=r"'binary' needs exactly 2 classes, there are 3\. Pass"):
        encode(LABELS, "binary", 3)
    with pytest.raises(ValueError, match=r"label_mode must be one of \('int', .*got 'onehot'"):
        check_label_mode("onehot", 3)
