"""The endings of file names that are taken for images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

IMAGE_EXTENSIONS: Final[tuple[str, ...]] = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".avif",
)


def extension_suffixes(extensions: Iterable[str]) -> tuple[bytes, ...]:
    """The extensions as lower-case bytes with their dot, for `bytes.endswith`.

    >>> extension_suffixes(["jpg", ".PNG"])
    (b'.jpg', b'.png')
    """
    if isinstance(extensions, str):
        raise TypeError(f"extensions must be a list such as ['.jpg'], got the text {extensions!r}")
    suffixes = tuple(f".{e.lower().removeprefix('.')}".encode() for e in extensions)
    if not suffixes or b"." in suffixes:
        raise ValueError(f"extensions must name at least one, none empty; got {extensions!r}")
    return suffixes


def looks_like_an_image(name: str) -> bool:
    """Whether a name ends as image files do.

    >>> looks_like_an_image("稻瘟病/3.JPG"), looks_like_an_image("3")
    (True, False)
    """
    return name.lower().endswith(IMAGE_EXTENSIONS)
