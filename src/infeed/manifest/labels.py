"""Labels in the form that a loss function takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from infeed.manifest.manifest import Manifest

LabelMode = Literal["int", "categorical", "binary"]

LABEL_MODES: Final[tuple[str, ...]] = get_args(LabelMode)


def balanced_class_weight(manifest: Manifest) -> dict[int, float]:
    """A weight for each class that has images, so that all of these count alike.

    Records / (classes * records of the class), as scikit-learn's "balanced": the mean over the
    records is 1.

    Raises:
        ValueError: the manifest has no labels.
    """
    if manifest.labels is None:
        raise ValueError("class weights need labels, and this manifest has none")
    present = {label: int(count) for label, count in enumerate(manifest.class_counts) if count}
    return {label: len(manifest) / (len(present) * count) for label, count in present.items()}


def encode(
    labels: npt.NDArray[np.int32], mode: LabelMode, num_classes: int
) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
    """The labels of a batch, encoded.

    Args:
        labels: int32 (b,), each in [0, num_classes).
        mode: "int" for sparse_categorical_crossentropy, "categorical" for
            categorical_crossentropy, "binary" for binary_crossentropy.
        num_classes: how many classes there are.

    Returns:
        "int": int32 (b,), the very array. "categorical": float32 (b, num_classes), one-hot.
        "binary": float32 (b, 1), 0 or 1.

    Raises:
        ValueError: as `check_label_mode`.

    >>> encode(np.array([1, 0], np.int32), "categorical", 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    check_label_mode(mode, num_classes)
    if mode == "int":
        return labels
    if mode == "binary":
        return labels.astype(np.float32)[:, None]
    encoded = np.zeros((len(labels), num_classes), np.float32)
    encoded[np.arange(len(labels)), labels] = 1.0
    return encoded


def check_label_mode(mode: str, num_classes: int) -> None:
    """Refuses a mode that is unknown or does not fit the number of classes.

    Raises:
        ValueError: no such mode, or "binary" and there are not exactly two classes.
    """
    if mode not in LABEL_MODES:
        raise ValueError(f"label_mode must be one of {LABEL_MODES}, got {mode!r}")
    if mode == "binary" and num_classes != 2:
        raise ValueError(
            f"label_mode='binary' needs exactly 2 classes, there are {num_classes}. "
            f"Pass label_mode='int' or 'categorical'."
        )
