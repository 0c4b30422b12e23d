"""`MemoryStorage`: images held in a dict, for tests and for small sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from infeed.errors import StorageError
from infeed.printable import show


@final
class MemoryStorage:
    """Serves bytes out of a mapping from name to content.

    >>> MemoryStorage({"a.jpg": b"..."}).read("a.jpg")
    b'...'
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)

    def read(self, uri: str) -> bytes:
        """The content of `uri`.

        Raises:
            StorageError: `missing`, when the mapping has no such name.
        """
        try:
            return self._files[uri]
        except KeyError:
            raise StorageError(
                f"no image is called {show(uri)} among the {len(self._files)} held in memory",
                reason="missing",
            ) from None

    def __repr__(self) -> str:
        return f"MemoryStorage(<{len(self._files)} files>)"
