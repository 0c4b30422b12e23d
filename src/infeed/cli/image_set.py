"""The images that a command goes through: of a manifest or of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infeed.manifest import Manifest
    from infeed.read import LocalStorage


def open_images(
    source: Path,
    images: Path | None,
    *,
    image_column: str | None,
    duplicates: Any,
    outside: bool,
    label_column: str | None = None,
    labelled: bool = False,
) -> tuple[Manifest, LocalStorage]:
    """What is there, and where.

    Args:
        source: a manifest, or a folder of images.
        images: their folder; None: that of the manifest.
        labelled: whether their labels are read too.

    Raises:
        ManifestError: with file, row, value and cure.
    """
    from infeed.manifest import Manifest
    from infeed.read import LocalStorage

    if images is None and not source.is_dir():
        images = source.parent
    manifest = Manifest.open(
        source,
        images=images,
        image_column=image_column,
        label_column=label_column,
        labelled=labelled,
        duplicates=duplicates,
    )
    # A folder that was named holds the caller's own links.
    return manifest, LocalStorage(manifest.images or "", outside=outside or source.is_dir())
