"""Images of a manifest that are not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from infeed.errors import ManifestError
from infeed.printable import show

_EXAMPLES: Final = 5


class MissingImage(NamedTuple):
    """An image that cannot be read, and why."""

    position: int
    name: bytes
    reason: str

    def __str__(self) -> str:
        name = show(self.name.decode("utf-8", "surrogateescape"))
        return f"row {self.position + 1}: {name} {self.reason}"


def refuse_missing(folder: str, names: Iterable[bytes], *, source: str) -> None:
    """Looks for every image.

    Raises:
        ManifestError: with the number of those missing, and the first five.
    """
    missing = missing_images(folder, names)
    examples = list(islice(missing, _EXAMPLES))
    if not examples:
        return
    count = len(examples) + sum(1 for _ in missing)
    text = "; ".join(str(image) for image in examples)
    raise ManifestError(
        f"{source}: {count} images cannot be found in {show(folder)}: {text}"
        f"{'; ...' if count > _EXAMPLES else ''}. "
        f"Check that this is the image folder, or remove the rows."
    )


def missing_images(folder: str, names: Iterable[bytes]) -> Iterator[MissingImage]:
    """Those of `names` that are no regular file in `folder`; a link counts as its target."""
    root = os.fsencode(folder)
    for position, name in enumerate(names):
        try:
            mode = os.stat(os.path.join(root, name)).st_mode  # noqa: PTH116, PTH118  Path takes no bytes
        except FileNotFoundError:
            yield MissingImage(position, name, "does not exist")
        except OSError as error:
            yield MissingImage(position, name, f"cannot be read ({error.strerror})")
        else:
            if not stat.S_ISREG(mode):
                yield MissingImage(position, name, "is not a regular file")
