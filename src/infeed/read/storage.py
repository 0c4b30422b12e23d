"""`Storage`: the one door to the outside world, a name in and its bytes out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Storage(Protocol):
    """Whatever can turn the name of an image into its bytes.

    An implementation is safe to call from many threads at once, holds nothing open between
    two calls, and keeps no more than the bytes that it hands out.
    """

    def read(self, uri: str) -> bytes:
        """The whole content of the file that the manifest calls `uri`.

        Args:
            uri: the name exactly as the manifest has it. Bytes that are not UTF-8 stand in it
                as lone surrogates (PEP 383, "surrogateescape").

        Raises:
            StorageError: with one of `STORAGE_REASONS`; nothing else escapes for any `uri`.
        """
        ...
