"""`Recipe`: the form that every image is brought into."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Self, SupportsIndex, final, get_args

ColorMode = Literal["rgb", "bgr", "grayscale", "rgba"]
Fit = Literal["stretch", "crop", "pad"]
Interpolation = Literal["bilinear", "nearest", "area", "bicubic", "lanczos"]
Decode = Literal["fast", "exact"]

MAX_PIXELS: Final = 89_478_485
"""A quarter of a gigabyte as RGB; where Pillow begins to warn of a decompression bomb."""

VERSION: Final = 1
"""Of the JSON form. A new version comes when the same fields begin to mean other pixels."""

_LARGEST_SIDE: Final = 32_767  # beyond it OpenCV's filters overflow their 16-bit tables
_CHANNELS: Final = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}
_CHOICES: Final = {
    "color_mode": get_args(ColorMode),
    "fit": get_args(Fit),
    "interpolation": get_args(Interpolation),
    "decode": get_args(Decode),
}


@final
@dataclass(frozen=True, slots=True)
class Recipe:
    """The form that every image is brought into: uint8 (height, width, channels).

    Two images made by equal recipes from equal bytes are equal.

    Args:
        height: rows of the result, in pixels.
        width: columns of the result, in pixels.
        color_mode: the channels and their order. Transparency is dropped, not blended, unless
            it is kept ("rgba"; 255 where an image has none). "grayscale" is the luma of
            ITU-R 601, as in Keras, TensorFlow, OpenCV and Pillow.
        fit: what happens when the aspect ratio differs. "stretch" distorts; "crop" takes the
            largest centred window of the right ratio (Keras' `crop_to_aspect_ratio`); "pad"
            puts zeros around (Keras' `pad_to_aspect_ratio`).
        interpolation: OpenCV's filters; "lanczos" is the one over 8x8 pixels.
        decode: "fast" lets the JPEG decoder deliver 1/2, 1/4 or 1/8 of the size where that is
            still as large as the result, and repeat the colours that are stored at half the
            size where both sides shrink; "exact" gives the very pixels of `cv2.imdecode`
            followed by `cv2.resize`, for JPEG, PNG, WebP and BMP (but of 16 bits, whose white
            OpenCV leaves at 248). Other formats and "rgba" come
            by Pillow, either way.
        max_pixels: an image whose header claims more is refused before it is decoded.

    >>> Recipe(height=224, width=160).shape
    (224, 160, 3)
    >>> Recipe(height=224, width=160, fit="squeeze")
    Traceback (most recent call last):
    ValueError: Recipe.fit must be one of 'stretch', 'crop', 'pad', got 'squeeze'
    """

    height: int
    width: int
    color_mode: ColorMode = "rgb"
    fit: Fit = "stretch"
    interpolation: Interpolation = "bilinear"
    decode: Decode = "fast"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name, largest in (("height", _LARGEST_SIDE), ("width", _LARGEST_SIDE)):
            _check_whole(self, name, largest)
        _check_whole(self, "max_pixels", None)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                known = ", ".join(map(repr, choices))
                raise ValueError(f"Recipe.{name} must be one of {known}, got {value!r}")

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return _CHANNELS[self.color_mode]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.height, self.width, _CHANNELS[self.color_mode])

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values, with the version of this form."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The recipe that `to_json` wrote.

        Raises:
            ValueError: another version, or a field that is missing, unknown or out of range.
            TypeError: `value` is no mapping.

        >>> Recipe.from_json(Recipe(height=8, width=8).to_json()) == Recipe(height=8, width=8)
        True
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"a recipe is a JSON object, got {value!r}")
        version = value.get("version")
        if version != VERSION or isinstance(version, bool):
            raise ValueError(
                f"a recipe of version {version!r}; this infeed reads version {VERSION}. "
                f"Use the release of infeed that wrote it."
            )
        given = {name: item for name, item in value.items() if name != "version"}
        expected = [field.name for field in fields(cls)]
        if sorted(given) != sorted(expected):
            raise ValueError(f"a recipe has the fields {expected}, got {sorted(given)}")
        return cls(**given)


def _check_whole(recipe: Recipe, name: str, largest: int | None) -> None:
    value: SupportsIndex = getattr(recipe, name)
    bound = "" if largest is None else f" and at most {largest}"
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1 or (largest is not None and number > largest):
        raise ValueError(f"Recipe.{name} must be a whole number, at least 1{bound}, got {value!r}")
    # A numpy integer would not survive JSON.
    object.__setattr__(recipe, name, number)
