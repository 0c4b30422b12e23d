"""The table of all records, held in a few flat arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from infeed.errors import ManifestError
from infeed.manifest.columns import ColumnChoice
from infeed.manifest.duplicates import Duplicates
from infeed.manifest.extensions import IMAGE_EXTENSIONS
from infeed.manifest.fingerprint import fingerprint
from infeed.manifest.from_csv import read_csv
from infeed.manifest.from_folders import read_folders
from infeed.manifest.from_json import read_json
from infeed.manifest.from_values import read_values
from infeed.manifest.gather import gather
from infeed.manifest.missing_images import refuse_missing
from infeed.manifest.place import working_folder
from infeed.manifest.record import Record
from infeed.manifest.rows import Rows
from infeed.manifest.text_file import TextFile
from infeed.printable import printable, show


@final
@dataclass(frozen=True, eq=False, repr=False)
class Manifest:
    """What exists: n images, by name, with their labels and weights.

    Made by `from_json`, `from_csv`, `from_folders`, `from_rows` or `open`; never changes.

    Attributes:
        arena: the names, UTF-8 with surrogate escapes, one after the other.
        offsets: int64 (n + 1,), where each name begins in `arena`, and its end.
        labels: int32 (n,), numbers of `class_names`; None without labels.
        weights: float32 (n,), finite and >= 0; None: every weight is 1.
        class_names: the classes, in the order of their numbers; empty without labels.
        images: the folder that the names are relative to; None if there is none.
        source: what messages call the manifest: its file or folder.

    >>> manifest = Manifest.from_rows(["x.jpg", "y.jpg", "z.jpg"], [30, 4, 30])
    >>> manifest
    Manifest(3 images, 2 classes, source='from_rows')
    >>> manifest.class_names, manifest.record(0).label
    (('4', '30'), 1)
    """

    arena: bytes
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None
    class_names: tuple[str, ...]
    images: str | None
    source: str

    def __post_init__(self) -> None:
        count = len(self.offsets) - 1
        if count < 1:
            raise ManifestError(
                f"{printable(self.source)}: no image is left; a manifest has at least one. "
                f"Choose more rows, or another split."
            )
        for array, dtype, size in (
            (self.offsets, np.int64, count + 1),
            (self.labels, np.int32, count),
            (self.weights, np.float32, count),
        ):
            if array is not None:
                assert array.dtype == dtype, (array.dtype, dtype)
                assert array.shape == (size,), (array.shape, size)
                array.flags.writeable = False
        assert self.offsets[0] == 0
        assert self.offsets[-1] == len(self.arena)
        assert (self.labels is None) == (not self.class_names)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        weight_column: str | None = None,
        class_names: Iterable[str | int] | None = None,
        labelled: bool = True,
        duplicates: Duplicates = "raise",
    ) -> Manifest:
        """The manifest at `path`, whatever its form.

        A folder goes to `from_folders`; a file whose name ends in `.json`, `.jsonl` or
        `.ndjson` to `from_json`, in `.csv` or `.tsv` to `from_csv`, and any other by what it
        begins with. Arguments and errors are theirs, except that without `images` the names
        are relative to the folder of the manifest.
        """
        path = Path(path)
        if os.path.isdir(path):  # noqa: PTH112 - False for whatever cannot be looked at
            columns = (image_column, label_column, weight_column)
            if images is not None or any(column is not None for column in columns):
                raise ManifestError(
                    f"{printable(str(path))} is a folder: it holds the images itself and has no "
                    f"columns. Leave out images and the column arguments, or pass a JSON or CSV "
                    f"file."
                )
            return cls.from_folders(path, class_names=class_names, labelled=labelled)
        suffix = path.suffix.lower()
        is_csv = suffix in (".csv", ".tsv")
        if not is_csv and suffix not in (".json", ".jsonl", ".ndjson"):
            with TextFile(path).open() as text:
                is_csv = not text.read(4096).lstrip().startswith(("[", "{"))
        read = cls.from_csv if is_csv else cls.from_json
        return read(
            path,
            images=path.parent if images is None else images,
            image_column=image_column,
            label_column=label_column,
            weight_column=weight_column,
            class_names=class_names,
            labelled=labelled,
            duplicates=duplicates,
        )

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        weight_column: str | None = None,
        class_names: Iterable[str | int] | None = None,
        labelled: bool = True,
        duplicates: Duplicates = "raise",
        encoding: str = "utf-8",
        encoding_errors: str = "strict",
    ) -> Manifest:
        """The manifest in a JSON list of objects, or in JSON Lines; found by its content.

        Args:
            images: the folder that the names are relative to; must exist. None: the names are
                absolute, or keys of a storage that is no folder.
            image_column, label_column: keys of the objects; None: found when unambiguous.
            weight_column: the key of the sample weights; None: no weights.
            class_names: the only labels allowed, in class order, as texts or integers; or, for
                labels that are numbers from 0, the names of these. None: the labels that
                occur, sorted as numbers if all are whole numbers, else as text.
            labelled: False reads no labels.
            duplicates: for an image name that occurs again: "raise", "keep" all rows, or
                "drop" all but the first.
            encoding, encoding_errors: as for the built-in `open`; a UTF-8 byte order mark is
                accepted. Errors "surrogateescape" keeps bytes that do not decode.

        Raises:
            ManifestError: with file, row, line, value and cure.

        Labels are read as the text that stands there: `NA`, `null` in quotes, and `007` stay
        what they are, and 7 and "7" are the same class.
        """
        choice = ColumnChoice(image_column, label_column, weight_column, labelled)
        rows = Rows(
            str(Path(path)),
            labelled=labelled,
            weighted=weight_column is not None,
            class_names=class_names,
        )
        folder = _image_folder(images, rows.source)
        read_json(TextFile(Path(path), encoding, encoding_errors), choice, rows)
        return cls(*rows.finish(duplicates), images=folder, source=str(Path(path)))

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        weight_column: str | None = None,
        class_names: Iterable[str | int] | None = None,
        labelled: bool = True,
        duplicates: Duplicates = "raise",
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
        encoding: str = "utf-8",
        encoding_errors: str = "strict",
    ) -> Manifest:
        """The manifest in comma- or tab-separated text, with a header line.

        Args:
            delimiter: between fields; None: a tab for `.tsv`, else what the first line has
                most of: comma, tab, semicolon or bar.
            columns: the names of the columns, for a file that has no header line.

        The other arguments, and the errors, are those of `from_json`.
        """
        choice = ColumnChoice(image_column, label_column, weight_column, labelled)
        rows = Rows(
            str(Path(path)),
            labelled=labelled,
            weighted=weight_column is not None,
            class_names=class_names,
        )
        folder = _image_folder(images, rows.source)
        file = TextFile(Path(path), encoding, encoding_errors)
        read_csv(file, choice, rows, delimiter=delimiter, columns=columns)
        return cls(*rows.finish(duplicates), images=folder, source=str(Path(path)))

    @classmethod
    def from_folders(
        cls,
        directory: str | os.PathLike[str],
        *,
        class_names: Iterable[str | int] | None = None,
        labelled: bool = True,
        extensions: Iterable[str] = IMAGE_EXTENSIONS,
        follow_links: bool = False,
    ) -> Manifest:
        """The images in a folder that has a folder for each class.

        Args:
            class_names: the folders to take, in class order; None: all, sorted by their bytes
                as Keras does ("10" before "9").
            labelled: False takes every image below `directory`, without labels.
            extensions: how image files end, in upper or lower case.
            follow_links: whether links to folders below the class folders are followed.

        Raises:
            ManifestError: no such folder, no class folder in it, no image in those.

        Files and folders whose name begins with a dot are left out. A class folder is walked
        with all that is below it; without any image it is still a class.
        """
        directory = Path(directory)
        rows = read_folders(
            directory,
            labelled=labelled,
            class_names=class_names,
            extensions=extensions,
            follow_links=follow_links,
        )
        return cls(*rows.finish("keep"), images=str(directory), source=str(directory))

    @classmethod
    def from_rows(
        cls,
        names: Iterable[str | os.PathLike[str]],
        labels: Iterable[str | int] | None = None,
        *,
        weights: Iterable[float] | None = None,
        images: str | os.PathLike[str] | None = None,
        class_names: Iterable[str | int] | None = None,
        duplicates: Duplicates = "raise",
        source: str = "from_rows",
    ) -> Manifest:
        """The manifest of names, labels and weights that are in memory.

        Args:
            labels: one a name, texts or integers, also as an array; None: no labels.
            weights: one a name, finite and >= 0; None: no weights.
            source: what messages call the manifest.

        The other arguments, and the errors, are those of `from_json`.
        """
        rows = Rows(
            source,
            labelled=labels is not None,
            weighted=weights is not None,
            class_names=class_names,
        )
        folder = _image_folder(images, rows.source)
        read_values(names, labels, weights, rows)
        return cls(*rows.finish(duplicates), images=folder, source=source)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{self.num_classes} classes"
        images = "" if self.images is None else f", images={show(self.images)}"
        return f"Manifest({len(self)} images, {classes}, source={show(self.source)}{images})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the fields, not what was computed from them and kept.
        fields = (self.arena, self.offsets, self.labels, self.weights)
        return Manifest, (*fields, self.class_names, self.images, self.source)

    def uri(self, position: int) -> str:
        """The name of an image as the manifest writes it.

        Raises:
            IndexError: `position` is not in [0, n).
        """
        return self._name(self._checked(position)).decode("utf-8", "surrogateescape")

    def uris(self, positions: npt.NDArray[np.int64]) -> list[str]:
        """The names of several images, in a sixth of the time of as many `uri`.

        Raises:
            IndexError: a position is not in [0, n).
        """
        if len(positions):
            self._checked(positions.min())
            self._checked(positions.max())
        begins, ends = self.offsets[positions].tolist(), self.offsets[positions + 1].tolist()
        arena = self.arena
        return [
            arena[begin:end].decode("utf-8", "surrogateescape")
            for begin, end in zip(begins, ends, strict=True)
        ]

    def record(self, position: int) -> Record:
        """One row.

        Raises:
            IndexError: `position` is not in [0, n).
        """
        position = self._checked(position)
        label = None if self.labels is None else int(self.labels[position])
        return Record(
            position=position,
            uri=self.uri(position),
            label=label,
            label_name=None if label is None else self.class_names[label],
            weight=1.0 if self.weights is None else float(self.weights[position]),
        )

    @property
    def num_classes(self) -> int:
        """How many classes there are, also those without an image; 0 without labels."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """int64 (num_classes,), the number of images in each class."""
        labels = np.empty(0, np.int32) if self.labels is None else self.labels
        counts = np.bincount(labels, minlength=self.num_classes).astype(np.int64)
        counts.flags.writeable = False
        return counts

    def positions_of_class(self, label: int) -> npt.NDArray[np.int64]:
        """int64 (class_counts[label],), the positions of a class, ascending.

        Raises:
            IndexError: `label` is not in [0, num_classes).

        The first call sorts all positions by class and keeps them, 4 bytes each.
        """
        label = index(label)
        if not 0 <= label < self.num_classes:
            raise IndexError(f"label must be in [0, {self.num_classes}), got {label}")
        end = int(self.class_counts[: label + 1].sum())
        start = end - int(self.class_counts[label])
        return self._by_class[start:end].astype(np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes held by names, offsets, labels, weights and the index of classes."""
        arrays = (self.offsets, self.labels, self.weights, self.__dict__.get("_by_class"))
        return len(self.arena) + sum(array.nbytes for array in arrays if array is not None)

    def fingerprint(self) -> str:
        """32 hex digits that tell manifests apart by names, labels, class names and weights.

        The same on every machine and Python version; `images` and `source` play no part.
        """
        return self._fingerprint

    def subset(self, positions: npt.ArrayLike) -> Manifest:
        """The manifest of some rows, in the order given; the classes stay as they are.

        Args:
            positions: integers (k,), each in [0, n); k at least 1.

        Raises:
            IndexError: a position is not in [0, n).
            ManifestError: there is no position.
        """
        chosen = np.asarray(positions)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise TypeError(
                f"positions must be a list of integers, got {chosen.dtype} {chosen.shape}. "
                f"For a mask pass numpy.flatnonzero(mask)."
            )
        outside = (chosen < 0) | (chosen >= len(self))
        if outside.any():
            raise IndexError(f"positions must be in [0, {len(self)}), got {chosen[outside][0]}")
        chosen = chosen.astype(np.int64)
        arena, offsets = gather(self.arena, self.offsets, chosen)
        return Manifest(
            arena,
            offsets,
            None if self.labels is None else self.labels[chosen],
            None if self.weights is None else self.weights[chosen],
            self.class_names,
            self.images,
            self.source,
        )

    def check_images(self) -> None:
        """Looks at every image file, without opening it.

        Raises:
            ManifestError: some are missing or no regular files; with their number and the
                first five.
        """
        if self.images is None:
            raise ManifestError(
                f"{printable(self.source)}: there is no image folder to look in. "
                f"Pass images=<folder>."
            )
        refuse_missing(self.images, self._names(), source=printable(self.source))

    @cached_property
    def _by_class(self) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
        assert self.labels is not None
        order = np.argsort(self.labels, kind="stable")
        return order.astype(np.int32) if len(self) < 2**31 else order

    @cached_property
    def _fingerprint(self) -> str:
        fields = (self.arena, self.offsets, self.labels, self.weights)
        return fingerprint(*fields, self.class_names)

    def _checked(self, position: int) -> int:
        position = index(position)
        if not 0 <= position < len(self):
            raise IndexError(f"position must be in [0, {len(self)}), got {position}")
        return position

    def _name(self, position: int) -> bytes:
        return self.arena[self.offsets[position] : self.offsets[position + 1]]

    def _names(self) -> Iterator[bytes]:
        return (self._name(position) for position in range(len(self)))


def _image_folder(images: str | os.PathLike[str] | None, source: str) -> str | None:
    if images is None:
        return None
    folder = os.fspath(images)
    if not os.path.isdir(folder):  # noqa: PTH112 - False for whatever cannot be looked at
        what = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise ManifestError(
            f"{source}: the image folder {show(folder)} {what}. Pass images=<folder>; "
            f"{working_folder()}."
        )
    return folder
