"""What a run is fed with: kept in its folder, so that any of its batches can be made again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, final, get_args

from infeed.errors import ManifestError
from infeed.loader import Loader, OnBadImage, Reencoding
from infeed.manifest import LabelMode, Manifest
from infeed.manifest.duplicates import Duplicates
from infeed.order import Sampler
from infeed.printable import printable
from infeed.read import LocalStorage
from infeed.sample import Recipe
from infeed.trainers.run_folder import DATA_FILE, RUN_FILES
from infeed.version import __version__
from infeed.whole_file import write_json

DATA_VERSION: Final = 1


@final
@dataclass(frozen=True, slots=True)
class ManifestSource:
    """Where a manifest comes from: what `Manifest.open` is given.

    Attributes:
        path: the file, or the folder of class folders; made absolute.
        images: the folder of the images, made absolute; None: the manifest's own.
        is_folder: whether `path` is a folder of class folders.
        image_column: None: found by itself.
        label_column: None: found by itself.
        weight_column: None: no weights.
        duplicates: what becomes of a name that comes twice.
        outside: whether a manifest may name files outside its images.
    """

    path: str
    images: str | None = None
    is_folder: bool = False
    image_column: str | None = None
    label_column: str | None = None
    weight_column: str | None = None
    duplicates: Duplicates = "raise"
    outside: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("ManifestSource.path must name a file or a folder, got ''")
        _check_choice("ManifestSource.duplicates", self.duplicates, get_args(Duplicates))
        # A run is often looked at from another working folder than it was trained in.
        object.__setattr__(self, "path", _absolute(self.path))
        if self.images is not None:
            object.__setattr__(self, "images", _absolute(self.images))

    def moved(self, path: Path | None, images: Path | None) -> ManifestSource:
        """The same source elsewhere; None stays where it is.

        A folder of class folders holds its images itself, so for it either one is its new place.
        """
        if self.is_folder and path is None:
            path, images = images, None
        return replace(
            self,
            path=self.path if path is None else str(path),
            images=self.images if images is None else str(images),
        )


@final
@dataclass(frozen=True, slots=True)
class RunData:
    """What a run is fed with, in a form that survives JSON.

    Attributes:
        source: where its manifest comes from.
        records: rows of the manifest.
        fingerprint: of the manifest: see `Manifest.fingerprint`.
        class_names: the classes, in the order of their numbers.
        label_mode: of the loader.
        on_bad_image: of the loader.
        recipe: of the loader.
        sampler: of the loader.
        steps_per_epoch: how many steps the trainer's epochs have.
        reencoding: of the loader: what a cache did to all images.
    """

    source: ManifestSource
    records: int
    fingerprint: str
    class_names: tuple[str, ...]
    label_mode: LabelMode | None
    on_bad_image: OnBadImage
    recipe: Recipe
    sampler: Sampler
    steps_per_epoch: int
    reencoding: Reencoding | None = None

    def __post_init__(self) -> None:
        for name, least in (("records", 0), ("steps_per_epoch", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    f"RunData.{name} must be a whole number, at least {least}, got {value!r}"
                )
        _check_choice("RunData.label_mode", self.label_mode, (*get_args(LabelMode), None))
        _check_choice("RunData.on_bad_image", self.on_bad_image, get_args(OnBadImage))
        _check_choice("RunData.reencoding", self.reencoding, (*get_args(Reencoding), None))

    @classmethod
    def of(cls, loader: Loader, source: ManifestSource, *, steps_per_epoch: int) -> RunData:
        """What a run with this loader is fed with, its manifest being that of `source`."""
        return cls(
            source=source,
            records=len(loader.manifest),
            fingerprint=loader.manifest.fingerprint(),
            class_names=loader.manifest.class_names,
            label_mode=loader.label_mode,
            on_bad_image=loader.on_bad_image,
            recipe=loader.recipe,
            sampler=loader.sampler,
            steps_per_epoch=steps_per_epoch,
            reencoding=loader.reencoding,
        )

    def loader(self) -> Loader:
        """A loader that makes the batches of the run again, as uint8, however many are bad.

        Raises:
            ManifestError: the manifest or the folder of the images is gone, or the manifest is
                not what it was when the run began.
        """
        source = self.source
        try:
            manifest = Manifest.open(
                source.path,
                images=source.images,
                image_column=source.image_column,
                label_column=source.label_column,
                weight_column=source.weight_column,
                class_names=self.class_names or None,
                labelled=bool(self.class_names),
                duplicates=source.duplicates,
            )
        except ManifestError as error:
            error.add_note(f"The run had read {self.records} records from its manifest.")
            raise
        if manifest.fingerprint() != self.fingerprint:
            raise ManifestError(
                f"{printable(source.path)}: the manifest has changed since the run began: it had "
                f"{self.records} records (fingerprint {self.fingerprint}) and has {len(manifest)} "
                f"now ({manifest.fingerprint()}). The batches of the run can be made only from "
                "the manifest that it was trained on: bring that back, or name a copy of it."
            )
        return Loader(
            manifest,
            self.recipe,
            self.sampler,
            storage=LocalStorage(manifest.images or "", outside=source.outside or source.is_folder),
            reencoding=self.reencoding,
            label_mode=self.label_mode,
            on_bad_image=self.on_bad_image,
            max_bad=1.0,
        )

    def write(self, folder: Path) -> None:
        """Writes the file `data.json` of a run's folder.

        Raises:
            OSError: it cannot be written.
        """
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        value |= {
            "source": asdict(self.source),
            "recipe": self.recipe.to_json(),
            "sampler": self.sampler.to_json(),
        }
        head = {"data_version": DATA_VERSION, "infeed": __version__}
        write_json(folder / DATA_FILE, head | value)

    @classmethod
    def read(cls, folder: Path) -> RunData:
        """What `write` wrote into the folder of a run.

        Raises:
            FileNotFoundError: there is no such file: not a run's folder, or an old one.
            ValueError: it is damaged, or another version wrote it.
            OSError: it cannot be read.
        """
        path = folder / DATA_FILE
        try:
            value = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(_why_missing(folder)) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged, it is not JSON: {error}") from None
        if not isinstance(value, Mapping) or value.get("data_version") != DATA_VERSION:
            raise ValueError(
                f"{path} is not of version {DATA_VERSION}, which this infeed {__version__} reads. "
                "Use the release of infeed that wrote it."
            )
        try:
            # Runs from before there were caches do not name it.
            value = {"reencoding": None, **value}
            given: dict[str, Any] = {field.name: value[field.name] for field in fields(cls)}
            return cls(
                **given
                | {
                    "source": ManifestSource(**given["source"]),
                    "class_names": tuple(given["class_names"]),
                    "recipe": Recipe.from_json(given["recipe"]),
                    "sampler": Sampler.from_json(given["sampler"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error!r}") from error
        except ValueError as error:
            error.add_note(f"This stands in {path}.")
            raise


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}")


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - keeps links, and takes any text


def _why_missing(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is not the folder of a run: there is no such folder."
    if any((folder / name).exists() for name in RUN_FILES):
        return (
            f"{folder} has no {DATA_FILE}: the run was made before infeed wrote that file, or not "
            "by `infeed train`. Its batches can be made by Loader.batch(epoch, number)."
        )
    return f"{folder} is not the folder of a run: it has no {DATA_FILE}."
