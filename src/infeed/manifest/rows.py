"""Rows while they are being read: checked one by one, held in growing flat arrays."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable
from io import BytesIO
from typing import Final, NamedTuple, final

import numpy as np
import numpy.typing as npt

from infeed.errors import ManifestError
from infeed.manifest.classes import class_codes, given_class_names, sorted_class_names
from infeed.manifest.duplicates import DUPLICATES, Duplicates, repeated_names
from infeed.manifest.gather import gather
from infeed.manifest.place import listing, place
from infeed.printable import printable, show

_LOGGER = logging.getLogger(__name__)
_MAX_WEIGHT: Final = float(np.finfo(np.float32).max)


class Table(NamedTuple):
    """The finished rows; the fields mean what they mean in `Manifest`."""

    arena: bytes
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None
    class_names: tuple[str, ...]


@final
class Rows:
    """Takes rows as text, refuses wrong ones by name, and holds the rest compactly.

    Args:
        source: what messages call the manifest.
        labelled: whether every row has a label.
        weighted: whether every row has a weight.
        class_names: the only labels allowed, in class order, or names for the labels 0, 1,
            2, ...; None: those that occur.
    """

    def __init__(
        self,
        source: str,
        *,
        labelled: bool,
        weighted: bool,
        class_names: Iterable[str | int] | None = None,
    ) -> None:
        if class_names is not None and not labelled:
            raise ValueError("class_names were given for a manifest without labels. Leave them out")
        given = None if class_names is None else given_class_names(class_names)
        self.source = printable(source)
        self.labelled = labelled
        self.weighted = weighted
        self._class_names = given
        self._codes = class_codes(given or ())
        self._arena = BytesIO()
        self._ends = array("q", [0])
        self._labels = array("i")
        self._weights = array("f")
        self._hashes = array("q")
        self._lines = array("q")

    def __len__(self) -> int:
        return len(self._hashes)

    def next_place(self, line: int | None = None) -> str:
        """The place of the row that comes next, for the start of a message."""
        return place(self.source, len(self) + 1, line)

    def add(
        self,
        name: str | bytes,
        label: str | None = None,
        weight: str | None = None,
        line: int | None = None,
    ) -> None:
        """Adds a row.

        Args:
            name: of the image: text, or bytes as the file system has them.
            label: text of the label; None if the row has none.
            weight: text of the weight; None if the row has none.
            line: where the row begins; None where there are no lines.

        Raises:
            ManifestError: something is missing in the row or wrong with it.
        """
        try:
            data = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        except UnicodeEncodeError as error:
            raise ManifestError(
                f"{self.next_place(line)}: image name {show(name)} holds half a surrogate pair, "
                f"which no file name can. Write the character as UTF-8."
            ) from error
        if not data or data.isspace():
            raise ManifestError(
                f"{self.next_place(line)}: the image name is empty ({show(name)}). "
                f"Name a file in every row, or remove the row."
            )
        if b"\0" in data:
            raise ManifestError(
                f"{self.next_place(line)}: image name {show(name)} contains a NUL character, "
                f"which no file name can. Correct the row or remove it."
            )
        if self.labelled:
            code = self._codes.get(label) if label is not None else None
            self._labels.append(self._new_code(label, line) if code is None else code)
        if self.weighted:
            self._weights.append(self._checked_weight(weight, line))
        self._ends.append(self._ends[-1] + self._arena.write(data))
        # Python's own hash differs from process to process, so that nobody can prepare names
        # that collide; it is gone once the rows are finished.
        self._hashes.append(hash(data))
        if line is not None:
            self._lines.append(line)

    def finish(self, duplicates: Duplicates) -> Table:
        """The rows as they are kept for good.

        Args:
            duplicates: what to do where a row repeats an image name: "raise", "keep" all,
                or "drop" all but the first.

        Raises:
            ManifestError: there is no row, or one repeats a name and `duplicates` is "raise".
        """
        if duplicates not in DUPLICATES:
            raise ValueError(f"duplicates must be one of {DUPLICATES}, got {duplicates!r}")
        if not len(self):
            raise ManifestError(
                f"{self.source}: there are no rows; expected at least one image. "
                f"Check that this is the right file and that it is complete."
            )
        arena = self._arena.getvalue()
        offsets = np.array(self._ends, np.int64)
        labels, class_names = self._final_labels()
        weights = np.array(self._weights, np.float32) if self.weighted else None
        if duplicates != "keep":
            repeats, firsts = repeated_names(arena, offsets, np.array(self._hashes, np.int64))
            if len(repeats) and duplicates == "raise":
                name = arena[offsets[repeats[0]] : offsets[repeats[0] + 1]]
                raise self._repeated(name, int(repeats[0]), int(firsts[0]), len(repeats))
            if len(repeats):
                _LOGGER.info("%s: dropped %d rows that repeat a name", self.source, len(repeats))
                kept = np.delete(np.arange(len(self)), repeats)
                arena, offsets = gather(arena, offsets, kept)
                labels = None if labels is None else labels[kept]
                weights = None if weights is None else weights[kept]
        return Table(arena, offsets, labels, weights, class_names)

    def _new_code(self, label: str | None, line: int | None) -> int:
        if label is None or not label.strip():
            found = "" if label is None else f" ({show(label)})"
            raise ManifestError(
                f"{self.next_place(line)}: the label is missing{found}. "
                f"Label every row, or pass labelled=False to read the manifest without labels."
            )
        if self._class_names is not None:
            raise ManifestError(
                f"{self.next_place(line)}: label {show(label)} is not among class_names, "
                f"which are {listing(self._class_names)}. "
                f"Add it to class_names, or correct the row."
            )
        return self._codes.setdefault(label, len(self._codes))

    def _checked_weight(self, weight: str | None, line: int | None) -> float:
        try:
            value = float(weight or "")
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= _MAX_WEIGHT:
            raise ManifestError(
                f"{self.next_place(line)}: weight {show(weight)} is not a finite number >= 0. "
                f"Correct the row, or leave weight_column out."
            )
        return value

    def _final_labels(self) -> tuple[npt.NDArray[np.int32] | None, tuple[str, ...]]:
        if not self.labelled:
            return None, ()
        labels = np.array(self._labels, np.int32)
        if self._class_names is not None:
            return labels, self._class_names
        names = sorted_class_names(self._codes)
        final = {name: code for code, name in enumerate(names)}
        # Codes were given as labels came up; this is each one's place in class order.
        order = np.array([final[name] for name in self._codes], np.int32)
        return order[labels], names

    def _repeated(self, name: bytes, row: int, first: int, count: int) -> ManifestError:
        text = name.decode("utf-8", "surrogateescape")
        others = "" if count == 1 else f" {count} rows repeat a name."
        return ManifestError(
            f"{self._place(row)}: image {show(text)} occurs again, "
            f"first in {self._place(first).removeprefix(self.source + ', ')}.{others} "
            f'Remove the row, or pass duplicates="drop" to keep the first of each name, '
            f'or duplicates="keep" to keep all rows.'
        )

    def _place(self, row: int) -> str:
        return place(self.source, row + 1, self._lines[row] if self._lines else None)
