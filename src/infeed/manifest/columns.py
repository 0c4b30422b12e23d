"""Which columns of a manifest hold the image, the label and the weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infeed.errors import ManifestError
from infeed.manifest.extensions import looks_like_an_image
from infeed.manifest.place import listing
from infeed.printable import show

_IMAGE: Final = re.compile(
    r"(image|img|photo|picture|file)(_?(id|file|name|path|uri|file_?name|file_?path))?|path|uri"
)
_LABEL: Final = re.compile(r"(.*_)?(label|class|category|target)(_?(id|name|index))?")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read, by name; `label` and `weight` are None where there is none."""

    image: str
    label: str | None
    weight: str | None


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What the caller says about the columns; None: find it."""

    image: str | None = None
    label: str | None = None
    weight: str | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        if self.label is not None and not self.labelled:
            raise ValueError(
                f"label_column={self.label!r} contradicts labelled=False. Pass only one of them"
            )

    def find(self, first_row: Mapping[str, object], *, source: str) -> Columns:
        """The columns of a manifest.

        Args:
            first_row: the first row, by column; its values help where the names do not.
            source: what messages call the manifest.

        Raises:
            ManifestError: a column is missing, or more than one could be meant.

        A column is found by its name (`image_id`, `file name`, ... and `label`,
        `disease_class`, ...). Where no name or several fit, the image is the only one of them
        whose value ends as image files do. The label may also be the only column left.

        >>> row = {"disease_class": "3", "image_id": "x.jpg"}
        >>> ColumnChoice().find(row, source="train.json")
        Columns(image='image_id', label='disease_class', weight=None)
        """
        for chosen, argument in (
            (self.image, "image_column"),
            (self.label, "label_column"),
            (self.weight, "weight_column"),
        ):
            if chosen is not None and chosen not in first_row:
                raise _missing(source, f"no column {show(chosen)}", first_row, argument)

        image = self.image
        if image is None:
            image = _find_image(
                {k: v for k, v in first_row.items() if k not in (self.label, self.weight)},
                source,
                first_row,
            )
        label = self.label
        if label is None and self.labelled:
            left = [column for column in first_row if column not in (image, self.weight)]
            label = _find_label(left, source, first_row)
        return Columns(image, label, self.weight)


def _find_image(left: Mapping[str, object], source: str, first_row: Mapping[str, object]) -> str:
    named = [column for column in left if _fits(_IMAGE.fullmatch, column)]
    if len(named) == 1:
        return named[0]
    pictured = [column for column in named or left if _is_image_name(left[column])]
    if len(pictured) == 1:
        return pictured[0]
    candidates = named or pictured
    if candidates:
        what = f"{listing(candidates)} could each be the image column"
    else:
        what = "no column looks like image names"
    raise _missing(source, what, first_row, "image_column")


def _find_label(left: list[str], source: str, first_row: Mapping[str, object]) -> str:
    named = [column for column in left if _fits(_LABEL.fullmatch, column)]
    if len(named) == 1:
        return named[0]
    if not named and len(left) == 1:
        return left[0]
    if named:
        what = f"{listing(named)} could each be the label column"
    else:
        what = "no column looks like labels"
    raise _missing(source, what, first_row, "label_column", ", or labelled=False if it has none")


def _fits(match: Callable[[str], object], column: str) -> bool:
    return match(re.sub(r"[\s-]+", "_", column.strip().lower())) is not None


def _is_image_name(value: object) -> bool:
    return isinstance(value, str) and looks_like_an_image(value)


def _missing(
    source: str, what: str, first_row: Mapping[str, object], argument: str, otherwise: str = ""
) -> ManifestError:
    return ManifestError(
        f"{source}: {what}; columns are {listing(list(first_row)) or '(none)'}. "
        f"Pass {argument}=<column name>{otherwise}."
    )
