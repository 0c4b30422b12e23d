"""`Storage`: the one door to the outside world, a name in and its bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


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


class Stamp(NamedTuple):
    """What tells one state of a file from another without reading it.

    Attributes:
        size: in bytes.
        mtime_ns: when it was last modified, in nanoseconds since 1970.
    """

    size: int
    mtime_ns: int


@runtime_checkable
class StampedStorage(Storage, Protocol):
    """A storage that knows a file's state without reading it, as a cache needs it.

    Images of a storage without stamps are told apart by their content, which costs the cache a
    `read` each time.
    """

    def name(self, uri: str) -> bytes:
        """What the file is called beyond this manifest: two files never share a name.

        Raises:
            StorageError: no file can have that name.
        """
        ...

    def stamps(self, uris: Sequence[str]) -> list[Stamp | None]:
        """The states of files now; None for one that `read` would refuse without looking into."""
        ...
