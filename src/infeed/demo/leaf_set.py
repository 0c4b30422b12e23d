"""A whole set of leaf pictures on disk, with the blemishes of a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from operator import index
from pathlib import Path
from typing import Final

from infeed.demo.jpeg import encode_jpeg
from infeed.demo.leaf import CLASSES, draw_leaf
from infeed.demo.plan import Plan, PlannedFile, PlannedSet, Split, plan_files

_MARKER: Final = "leaf_set.json"
_SPLITS: Final[tuple[Split, Split]] = ("train", "validation")
_SHORTER_SIDES: Final = (1.0, 3 / 4, 2 / 3, 9 / 16)
_CUT_AT: Final = 0.6


@dataclass(frozen=True)
class LeafSet:
    """Where a drawn set lies, and what is wrong with it on purpose.

    Attributes:
        folder: the whole set.
        train_manifest: JSON, `[{"disease_class": 3, "image_id": "x.jpg"}, ...]`.
        train_images: the folder that its names are relative to.
        validation_manifest: the same for validation.
        validation_images: the same for validation.
        class_names_file: a JSON list; a label is a place in it.
        classes: what that file holds.
        truncated: the name in the train manifest whose file ends too early.
        duplicate: two names in the train manifest with the same label and the same bytes.
    """

    folder: Path
    train_manifest: Path
    train_images: Path
    validation_manifest: Path
    validation_images: Path
    class_names_file: Path
    classes: tuple[str, ...]
    truncated: str
    duplicate: tuple[str, str]


def draw_set(
    folder: str | Path,
    *,
    train: int = 900,
    validation: int = 180,
    size: int = 320,
    seed: int = 7,
    on_picture: Callable[[int, int], None] | None = None,
) -> LeafSet:
    """A set of leaf pictures with manifests, drawn into `folder` or found there.

    Args:
        folder: made if it is not there. A set of the same arguments is taken as it is; one
            whose drawing was interrupted is drawn again; anything else is left alone.
        train: rows of the train manifest, at least 12.
        validation: rows of the validation manifest, at least 6.
        size: the longer side of every picture in pixels, at least 32.
        seed: the same seed draws the same set.
        on_picture: called after each picture with how many are done, and of how many; not
            called for a set that was found.

    Raises:
        ValueError: a number is too small.
        FileExistsError: the folder holds something else.
        OSError: the folder cannot be written to.

    One process at a time may draw into a folder.
    """
    plan = Plan(index(train), index(validation), index(size), index(seed))
    folder = Path(folder)
    planned = plan_files(plan)
    leaf_set = LeafSet(
        folder=folder,
        train_manifest=folder / "train" / "annotations.json",
        train_images=folder / "train" / "images",
        validation_manifest=folder / "validation" / "annotations.json",
        validation_images=folder / "validation" / "images",
        class_names_file=folder / "class_names.json",
        classes=CLASSES,
        truncated=planned.truncated,
        duplicate=planned.duplicate,
    )
    if not (_found(folder, plan) and _complete(leaf_set, planned)):
        _draw(leaf_set, planned, plan, on_picture)
    return leaf_set


def _found(folder: Path, plan: Plan) -> bool:
    """Whether a finished set of this plan is in the folder.

    Raises:
        FileExistsError: something else is.
    """
    cure = "Pass a new or empty folder, or remove this one yourself."
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file, and a leaf set needs a folder. {cure}")
    marker = folder / _MARKER
    if not marker.exists():
        # The marker is the first thing that a drawing writes: its unfinished form may be
        # all that an interrupted one has left.
        others = sorted(_names_in(folder) - {_partial(marker).name})
        if others:
            raise FileExistsError(
                f"{folder}: holds other things than a leaf set, {others[0]!r} for one. {cure}"
            )
        return False
    try:
        state = json.loads(marker.read_bytes())
        there, finished = state["arguments"], state["finished"]
    except (ValueError, TypeError, KeyError) as error:
        raise FileExistsError(f"{marker}: is not the marker of a leaf set. {cure}") from error
    if there != asdict(plan):
        raise FileExistsError(
            f"{folder}: holds a leaf set of other arguments: {there}, asked for {asdict(plan)}. "
            f"{cure}"
        )
    return bool(finished)


def _complete(leaf_set: LeafSet, planned: PlannedSet) -> bool:
    """Whether every file is still there."""
    lists = (leaf_set.train_manifest, leaf_set.validation_manifest, leaf_set.class_names_file)
    return all(path.is_file() for path in lists) and all(
        _names_in(_images(leaf_set, split)).issuperset(file.name for file in planned.of(split))
        for split in _SPLITS
    )


def _draw(
    leaf_set: LeafSet,
    planned: PlannedSet,
    plan: Plan,
    on_picture: Callable[[int, int], None] | None,
) -> None:
    """Write everything. The marker says "not finished" first and "finished" last."""
    folder = leaf_set.folder
    with _cure_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _mark(folder, plan, finished=False)
        for split in _SPLITS:
            _images(leaf_set, split).mkdir(parents=True, exist_ok=True)
    for done, file in enumerate(planned.files, start=1):
        encoded = _encoded(plan, file)
        with _cure_named(folder):
            (_images(leaf_set, file.split) / file.name).write_bytes(encoded)
        if on_picture is not None:
            on_picture(done, len(planned.files))
    with _cure_named(folder):
        for split in _SPLITS:
            rows = [
                {"disease_class": file.label, "image_id": file.name} for file in planned.of(split)
            ]
            _write_json(_images(leaf_set, split).with_name("annotations.json"), rows)
        _write_json(leaf_set.class_names_file, list(leaf_set.classes))
        _mark(folder, plan, finished=True)


def _encoded(plan: Plan, file: PlannedFile) -> bytes:
    """The bytes of one picture's file."""
    chance = plan.generator(f"{file.split} picture", file.index)
    shorter = max(16, round(plan.size * _SHORTER_SIDES[chance.integers(len(_SHORTER_SIDES))]))
    lying = chance.uniform() < 0.5
    height, width = (shorter, plan.size) if lying else (plan.size, shorter)
    picture = draw_leaf(chance, file.label, height=height, width=width)
    quality = int(chance.integers(85, 96))
    encoded = encode_jpeg(picture, quality=quality, orientation=_orientation(file.index))
    return encoded[: int(len(encoded) * _CUT_AT)] if file.truncated else encoded


def _orientation(number: int) -> int:
    """The EXIF value: one picture in 25 is from a phone that was held otherwise."""
    turns, rest = divmod(number, 25)
    if rest != 4:
        return 1
    return 6 if turns % 2 == 0 else 3


def _images(leaf_set: LeafSet, split: Split) -> Path:
    return leaf_set.train_images if split == "train" else leaf_set.validation_images


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _mark(folder: Path, plan: Plan, *, finished: bool) -> None:
    """Replace the marker in one step: it is always whole."""
    marker = folder / _MARKER
    try:
        _write_json(_partial(marker), {"arguments": asdict(plan), "finished": finished})
        _partial(marker).replace(marker)
    finally:
        _partial(marker).unlink(missing_ok=True)


def _partial(marker: Path) -> Path:
    return marker.with_name(marker.name + ".partial")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def _cure_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"the leaf set cannot be written ({error.strerror}). Pass a folder that you may "
            "write to, on a disk with room",
            str(folder),
        ) from error
