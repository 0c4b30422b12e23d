"""The set that all peers read: one file for each row, in class folders, and its manifest.

The files are links to the photos, so that a small folder of photos makes an epoch of any length
and loaders that want class folders read the same files as the others. Hard links, not symbolic
ones: to open one takes no more than to open the photo itself.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
IMAGES = "images"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A laid set.

    Attributes:
        folder: where it was laid.
        names: of the files, relative to `images`; the row is the place in this list.
        classes: the class number of each row.
    """

    folder: Path
    names: tuple[str, ...]
    classes: tuple[int, ...]

    @property
    def images(self) -> Path:
        """The folder that holds a folder for each class."""
        return self.folder / IMAGES

    @property
    def manifest(self) -> Path:
        """`[{"disease_class": 3, "image_id": "3/000012.jpg"}, ...]`, in the order of the rows."""
        return self.folder / MANIFEST

    @property
    def paths(self) -> list[str]:
        """The files in the order of the rows."""
        return [str(self.images / name) for name in self.names]

    @classmethod
    def read(cls, folder: Path) -> ImageSet:
        """The set that was laid there."""
        rows = json.loads((folder / MANIFEST).read_text())
        return cls(
            folder,
            tuple(row["image_id"] for row in rows),
            tuple(row["disease_class"] for row in rows),
        )

    @classmethod
    def lay(
        cls, folder: Path, photos: Sequence[Path], classes: Sequence[int], *, rows: int
    ) -> ImageSet:
        """Links the photos, over and over, until there are `rows` files.

        Args:
            folder: is made; where links into it are impossible, the photos are copied.
            photos: JPEG files.
            classes: the class number of each.
        """
        names = []
        numbers = []
        for row in range(rows):
            number = classes[row % len(photos)]
            name = f"{number:04}/{row:06}.jpg"
            path = folder / IMAGES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _link(photos[row % len(photos)], path)
            names.append(name)
            numbers.append(number)
        laid = cls(folder, tuple(names), tuple(numbers))
        laid.manifest.write_text(
            json.dumps(
                [
                    {"disease_class": number, "image_id": name}
                    for number, name in zip(numbers, names, strict=True)
                ]
            )
        )
        return laid


def _link(photo: Path, path: Path) -> None:
    try:
        os.link(photo.resolve(), path)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(photo, path)
