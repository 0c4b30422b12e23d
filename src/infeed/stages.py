"""What all batches of a loader are made with, checked once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final, get_args

import numpy as np
import numpy.typing as npt

from infeed.cache import Store
from infeed.errors import ManifestError
from infeed.manifest import LabelMode, Manifest
from infeed.printable import printable
from infeed.read import Storage
from infeed.sample import Recipe
from infeed.stream.meter import Meter
from infeed.stream.quarantine import Quarantine

OnBadImage = Literal["replace", "mask", "raise"]
PixelType = Literal["uint8", "float32"]
Reencoding = Literal["jpeg"]

Augment = Callable[[npt.NDArray[np.uint8], int], npt.NDArray[np.uint8] | None]
"""Changes an image at random, by a random word: see `Loader`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """The settings of the stages from bytes to a batch; the fields are those of `Loader`.

    Attributes:
        seed: the sampler's, which chooses the replacements of bad images.
        store: the kept images, or None.
        reencoding: what the pixels of every image go through, kept or not; None: nothing.
        class_weights: float32 (num_classes,), as `weights_by_class` makes them, or None where
            all classes weigh 1.
        stuck: the records that threads which were given up still wait for.

    Raises:
        ValueError: a setting that cannot be.
    """

    manifest: Manifest
    recipe: Recipe
    storage: Storage
    store: Store | None
    reencoding: Reencoding | None
    seed: int
    label_mode: LabelMode | None
    class_weights: npt.NDArray[np.float32] | None
    dtype: PixelType
    scale: float | None
    on_bad_image: OnBadImage
    augment: Augment | None
    quarantine: Quarantine
    meter: Meter
    read_timeout_seconds: float | None
    stuck: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, get_args(PixelType))
        _check_choice("on_bad_image", self.on_bad_image, get_args(OnBadImage))
        _check_augment(self.augment)
        if self.reencoding is not None:
            _check_choice("reencoding", self.reencoding, get_args(Reencoding))
        if self.label_mode is not None:
            _check_choice("label_mode", self.label_mode, get_args(LabelMode))
        scale, manifest = self.scale, self.manifest
        if scale is not None and self.dtype == "uint8":
            raise ValueError(
                f"scale={scale!r} needs dtype='float32'; with uint8 images, scale on the device: "
                "put keras.layers.Rescaling first in the model"
            )
        if scale is not None and not (_is_number(scale) and math.isfinite(scale) and scale):
            raise ValueError(f"scale must be a finite number that is not 0, got {scale!r}")
        has_two_classes = manifest.labels is None or manifest.num_classes == 2
        if self.label_mode == "binary" and not has_two_classes:
            raise ManifestError(
                f"{printable(manifest.source)}: label_mode='binary' needs exactly 2 classes, there "
                f"are {manifest.num_classes}. Pass label_mode='int' or 'categorical'."
            )


def _check_augment(augment: Augment | None) -> None:
    """Raises `ValueError` where it is seen without a call that no call would succeed."""
    if augment is None:
        return
    try:
        signature = inspect.signature(augment)
    except ValueError:  # one that is written in C and does not tell
        return
    except TypeError:
        signature = inspect.Signature()  # no function at all
    try:
        signature.bind(None, 0)
    except TypeError as error:
        raise ValueError(
            "augment must be a function of two arguments, an image and a random word, or None, "
            f"got {augment!r} ({error}). A Keras layer belongs in the model, after its input."
        ) from None


def name_of(augment: Augment | None) -> str | None:
    """What an augmentation is called in a saved state; nothing of what it does, or is set to."""
    if augment is None:
        return None
    # A partial function has the name of its function, another object that of its class.
    named: Any = getattr(augment, "func", augment)
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"


def weights_by_class(
    class_weight: Mapping[int, float] | None, manifest: Manifest
) -> npt.NDArray[np.float32] | None:
    """float32 (num_classes,), 1 where a class is not named; None where all classes weigh 1.

    Raises:
        ValueError: no such class, a weight that is negative or not finite, or no labels.
    """
    if class_weight is None:
        return None
    if manifest.labels is None:
        raise ValueError("class_weight needs labels, and this manifest has none")
    weights = np.ones(manifest.num_classes, np.float32)
    for label, weight in class_weight.items():
        if not 0 <= label < len(weights) or not _is_number(weight) or not 0 <= weight < math.inf:
            raise ValueError(
                f"class_weight must map the numbers of classes, 0 to {len(weights) - 1}, to finite "
                f"weights of 0 or more, got {label!r}: {weight!r}"
            )
        weights[label] = weight
    return weights


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
