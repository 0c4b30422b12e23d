"""Rows from a folder that has a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, final

from infeed.errors import ManifestError
from infeed.manifest.classes import given_class_names
from infeed.manifest.extensions import extension_suffixes
from infeed.manifest.place import listing, working_folder
from infeed.manifest.rows import Rows
from infeed.printable import printable, show

CACHE_MARKER: Final = "infeed-cache.json"
"""The file by which a folder is known to be a cache of infeed."""


def read_folders(
    directory: Path,
    *,
    labelled: bool,
    class_names: Iterable[str | int] | None,
    extensions: Iterable[str],
    follow_links: bool,
) -> Rows:
    """The images below `directory`, their class being the folder in it that they lie in.

    Args:
        class_names: the folders to take, in class order; None: all, sorted by their bytes.
        labelled: False takes every image below `directory`, those directly in it too.
        follow_links: whether links to folders below the class folders are followed.

    Raises:
        ManifestError: there is no image, no class folder, or not one that was named.

    As in Keras, files and folders whose name begins with a dot are left out, a class folder
    without images is a class all the same, and a class folder may itself be a link. In each
    folder the files come first, then the folders, each sorted by their bytes. A cache of infeed
    among the class folders is none of them. Nothing is opened: what is a pipe, a device or a loop
    of links and is called as images are is listed, for its reader to name.
    """
    suffixes = extension_suffixes(extensions)
    shown = printable(str(directory))
    tree = _Tree(os.fsencode(directory), suffixes, follow_links=follow_links)
    if not labelled:
        rows = Rows(str(directory), labelled=False, weighted=False, class_names=class_names)
        for name in tree.images(b""):
            rows.add(name)
    else:
        folders = _class_folders(tree, directory, class_names)
        names = [folder.decode("utf-8", "surrogateescape") for folder in folders]
        rows = Rows(str(directory), labelled=True, weighted=False, class_names=names)
        for folder, label in zip(folders, names, strict=True):
            for name in tree.images(folder):
                rows.add(name, label)
    if not len(rows):
        endings = listing([suffix.decode() for suffix in suffixes])
        raise ManifestError(
            f"{shown}: no image in it; expected files that end in {endings}. "
            f"Check the folder, or pass extensions=[...]."
        )
    return rows


def _class_folders(
    tree: _Tree, directory: Path, class_names: Iterable[str | int] | None
) -> list[bytes]:
    files, folders = tree.entries(b"", follow_links=True)
    shown = printable(str(directory))
    folders = [folder for folder in folders if not tree.holds(folder, CACHE_MARKER)]
    if class_names is not None:
        given = given_class_names(class_names)
        wanted = [name.encode("utf-8", "surrogateescape") for name in given]
        absent = [n for n, folder in zip(given, wanted, strict=True) if folder not in folders]
        if absent:
            there = [folder.decode("utf-8", "surrogateescape") for folder in folders]
            raise ManifestError(
                f"{shown}: no folder for class {listing(absent)}; folders are "
                f"{listing(there) or '(none)'}. Correct class_names, or leave it out."
            )
        tree.refuse_loops(wanted)
        return wanted
    if not folders:
        raise ManifestError(
            f"{shown}: no class folders in it ({len(files)} images directly in it). "
            f"Expected a folder for each class; pass labelled=False for images without labels."
        )
    tree.refuse_loops(folders)
    return folders


@final
class _Tree:
    """The files below a folder, by names relative to it; bytes, for not all names are text."""

    def __init__(self, root: bytes, suffixes: tuple[bytes, ...], *, follow_links: bool) -> None:
        self._root = root
        self._suffixes = suffixes
        self._follow_links = follow_links
        # The root and the folders that it lies in.
        try:
            resolved = Path(os.fsdecode(os.path.realpath(root)))
        except ValueError as error:
            raise _refusal(printable(os.fsdecode(root)), error) from error
        parents = map(os.fsencode, (resolved, *resolved.parents))
        self._above = frozenset(filter(None, map(_identity, parents)))

    def images(self, folder: bytes) -> Iterator[bytes]:
        """The images in `folder` and below it; where links are followed, each folder once."""
        # A link back would never end, and among n folders that link to each other there are more
        # ways than anybody can wait for.
        seen = set(self._above) if self._follow_links else None
        waiting = [folder]  # the next one last
        while waiting:
            here = waiting.pop()
            if seen is not None:
                identity = _identity(_join(self._root, here))
                if identity in seen:
                    continue
                if identity is not None:
                    seen.add(identity)
            files, folders = self.entries(here, follow_links=self._follow_links)
            for file in files:
                yield _join(here, file)
            waiting.extend(_join(here, name) for name in reversed(folders))

    def refuse_loops(self, folders: Iterable[bytes]) -> None:
        """Refuses links among class folders that lead back to where the class folders lie.

        Raises:
            ManifestError: names the first of them.
        """
        for folder in folders:
            if _identity(_join(self._root, folder)) in self._above:
                raise ManifestError(
                    f"{printable(os.fsdecode(self._root))}: the class folder "
                    f"{show(os.fsdecode(folder))} is a link to a folder that holds all class "
                    f"folders. Remove it, or pass class_names=[...] without it."
                )

    def holds(self, folder: bytes, name: str) -> bool:
        """Whether something of that name is directly in a folder."""
        return os.path.lexists(_join(_join(self._root, folder), os.fsencode(name)))

    def entries(self, folder: bytes, *, follow_links: bool) -> tuple[list[bytes], list[bytes]]:
        """The names of the images and of the folders in a folder, each sorted."""
        files: list[bytes] = []
        folders: list[bytes] = []
        path = _join(self._root, folder)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(b"."):
                        continue
                    if _is_folder(entry):
                        if follow_links or not entry.is_symlink():
                            folders.append(entry.name)
                    # A broken link counts: whoever reads it learns that the image is missing.
                    elif entry.name.lower().endswith(self._suffixes):
                        files.append(entry.name)
        except (OSError, ValueError) as error:
            raise _refusal(printable(os.fsdecode(path)), error) from error
        files.sort()
        folders.sort()
        return files, folders


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder and name else folder or name


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or a link to where nobody may look
        return False


def _identity(path: bytes) -> tuple[int, int] | None:
    """What tells a folder from all others; None where it cannot be looked at."""
    try:
        status = os.stat(path)  # noqa: PTH116  Path takes no bytes
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refusal(shown: str, error: OSError | ValueError) -> ManifestError:
    if isinstance(error, FileNotFoundError):
        return ManifestError(
            f"{shown}: there is no such folder. Check the path; {working_folder()}."
        )
    if isinstance(error, NotADirectoryError):
        return ManifestError(
            f"{shown} is a file; expected a folder with a folder for each class. "
            f"For a JSON or CSV file use Manifest.open."
        )
    # A ValueError: the name has a NUL in it.
    why = error.strerror if isinstance(error, OSError) else error
    return ManifestError(f"{shown} cannot be read: {why}.")
