"""`LocalStorage`: images in a folder of this machine.

Paths are bytes here, because names need not be text; so `os`, and not `pathlib`, is spoken.
"""
# ruff: noqa: PTH110, PTH112, PTH115, PTH116

from __future__ import annotations

import errno
import os
import stat
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn, final

from infeed.errors import StorageError
from infeed.plain_file import other_kind
from infeed.printable import show
from infeed.read.storage import Stamp
from infeed.read.transient import is_transient

MAX_BYTES: Final = 256 * 1024 * 1024
"""The largest file that is read unless told otherwise."""

# O_NONBLOCK: should a pipe take the file's place between stat and open, open returns at once.
# O_NOCTTY: nor may a terminal that does so become the one that controls this process.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_PLAIN_FLAGS: Final = _OPEN_FLAGS | os.O_NOFOLLOW

_TYPE: Final = 0o170000  # the bits of a mode that say what it is

_LONGEST_PATH: Final = 4096  # bytes; PATH_MAX of Linux

_MOST_FOLDERS: Final = 65_536  # that are remembered as plain

_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


@final
class LocalStorage:
    """Reads regular files below one folder, whatever script their names are in.

    Args:
        root: the images' folder; may itself be a symbolic link. Made absolute here, so that a
            later `chdir` does no harm. It need not exist yet.
        outside: True lets a name lead out of `root`: an absolute name, one with `..`, or a
            symbolic link. The default refuses them, so that a manifest from elsewhere cannot
            pull other files of this machine into a training set.
        max_bytes: the largest file that is read.

    Names are encoded here (UTF-8, surrogateescape), not by the locale.
    """

    def __init__(
        self, root: str | Path, *, outside: bool = False, max_bytes: int = MAX_BYTES
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        self.root = Path(root)
        self.outside = outside
        self.max_bytes = max_bytes
        self._root = os.path.realpath(_encode_root(self.root))
        self._prefix = self._root.rstrip(b"/") + b"/"
        self._plain_folders: set[bytes] = set()

    def read(self, uri: str) -> bytes:
        """The file's content, as long as it was when it was opened.

        Raises:
            StorageError: `missing`, `not_a_file`, `outside` or `io`.
        """
        name = self._encode(uri)
        descriptor, size = self._open(uri, name)
        try:
            return self._read_open(uri, descriptor, size)
        except OSError as error:
            self._refuse(uri, name, error)
        finally:
            os.close(descriptor)

    def name(self, uri: str) -> bytes:
        """The absolute path, before links, as bytes.

        Raises:
            StorageError: `missing` or `outside`, for a name that no file below `root` can have.
        """
        return self._path(self._encode(uri))

    def stamps(self, uris: Sequence[str]) -> list[Stamp | None]:
        """Size and modification time of the files that `read` would read; None where it raises."""
        found: list[Stamp | None] = []
        prefix, look = self._prefix, os.stat if self.outside else os.lstat
        for uri in uris:
            try:
                name = uri.encode("utf-8", "surrogateescape")
                # A name without folders is where it says, as is one in a plain folder.
                if b"/" in name or name == b"..":
                    name = self._encode(uri)
                    folder = name.rpartition(b"/")[0]
                    if not self.outside and not self._is_plain_folder(folder):
                        found.append(self._stamp_of_link(uri, name))
                        continue
                status = look(name if name.startswith(b"/") else prefix + name)
                if status.st_mode & _TYPE == stat.S_IFREG:
                    found.append(Stamp(status.st_size, status.st_mtime_ns))
                else:
                    found.append(self._stamp_of_link(uri, name))
            except (StorageError, OSError, ValueError):
                found.append(None)
        return found

    def _stamp_of_link(self, uri: str, name: bytes) -> Stamp:
        """Of a file that a link may lead to: believed only where it leads, once it is open."""
        descriptor, _ = self._open(uri, name)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return Stamp(status.st_size, status.st_mtime_ns)

    def _encode(self, uri: str) -> bytes:
        try:
            name = uri.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise StorageError(
                f"no file can have the name {show(uri)}: it is not text that UTF-8 can write",
                reason="missing",
            ) from None
        # Not looked for at all: the time that it takes to follow folders, and to put accents into
        # their order, grows with the square of their number; a million would take minutes.
        if len(name) > _LONGEST_PATH:
            raise StorageError(
                f"no file can have the name {show(uri)}: it has {len(name):,} bytes",
                reason="missing",
            )
        # A name without folders cannot lead anywhere; most have none.
        if not self.outside and (b"/" in name or name == b".."):
            self._refuse_leaving(uri, name)
        return name

    def _path(self, name: bytes) -> bytes:
        return name if name.startswith(b"/") else self._prefix + name

    def _open(self, uri: str, name: bytes) -> tuple[int, int]:
        """(descriptor, size) of a regular file that may be read."""
        path = self._path(name)
        try:
            is_plain = not self.outside and self._is_plain_folder(name.rpartition(b"/")[0])
            status = os.lstat(path) if is_plain else os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                if stat.S_ISLNK(status.st_mode):
                    is_plain = False
                    status = os.stat(path)
                self._refuse_other_kinds(uri, status.st_mode)
            descriptor = os.open(path, _PLAIN_FLAGS if is_plain else _OPEN_FLAGS)
        except ValueError:
            raise StorageError(
                f"no file can have the name {show(uri)}: it contains a NUL", reason="missing"
            ) from None
        except OSError as error:
            self._refuse(uri, name, error)
        if is_plain:
            return descriptor, status.st_size
        try:
            status = os.fstat(descriptor)
            self._refuse_other_kinds(uri, status.st_mode)
            self._refuse_outside(uri, path, descriptor)
        except OSError as error:
            os.close(descriptor)
            self._refuse(uri, name, error)
        except StorageError:
            os.close(descriptor)
            raise
        return descriptor, status.st_size

    def _is_plain_folder(self, folder: bytes) -> bool:
        """Whether no link or `..` is on the way from the root to `folder`; looked at once.

        A file in such a folder that is no link itself lies where its name says. That saves two
        system calls for each file, and with each a hand-over of the interpreter's lock.
        """
        if not folder or folder in self._plain_folders:
            return True
        path = self._prefix + folder
        is_plain = os.path.realpath(path) == path and os.path.isdir(path)
        if is_plain and len(self._plain_folders) < _MOST_FOLDERS:
            self._plain_folders.add(folder)
        return is_plain

    def _read_open(self, uri: str, descriptor: int, size: int) -> bytes:
        self._refuse_large(uri, size)
        try:
            # One more byte than there should be tells a file that is not what was looked at, for
            # which a plain one is not looked at again.
            data = os.read(descriptor, size + 1)
        except BlockingIOError:  # a pipe has taken its place
            data = b""
        if len(data) == size:
            return data
        return self._read_changed(uri, descriptor)

    def _read_changed(self, uri: str, descriptor: int) -> bytes:
        """The content of a file that was changed, or took another's place, since it was looked at.

        As long as it is now.
        """
        status = os.fstat(descriptor)
        self._refuse_other_kinds(uri, status.st_mode)
        size = status.st_size
        self._refuse_large(uri, size)
        os.lseek(descriptor, 0, os.SEEK_SET)
        data = b""
        while len(data) < size:
            more = os.read(descriptor, size - len(data))
            if not more:
                break
            data += more
        return data

    def _refuse_large(self, uri: str, size: int) -> None:
        if size > self.max_bytes:
            raise StorageError(
                f"{show(uri)} has {size:,} bytes, more than the {self.max_bytes:,} that are read. "
                f"If it is an image, pass a larger max_bytes to LocalStorage.",
                reason="io",
            )

    def _refuse_outside(self, uri: str, path: bytes, descriptor: int) -> None:
        if self.outside:
            return
        # The kernel knows where the open file lies, after every link. Only where it does not tell,
        # the path is followed: it may lead elsewhere by now than where the file was opened.
        is_inside = lies_inside(descriptor, self._prefix)
        if is_inside is None:
            is_inside = leads_inside(path, self._prefix)
        if is_inside:
            return
        raise StorageError(
            f"{show(uri)} leads out of {show(str(self.root))} through a symbolic link. "
            f"If that is meant, pass outside=True to LocalStorage.",
            reason="outside",
        )

    def _refuse_leaving(self, uri: str, name: bytes) -> None:
        if name.startswith(b"/"):
            what = "is an absolute name"
        elif b".." in name and os.path.normpath(name).split(b"/", 1)[0] == b"..":
            what = "leads out of it by '..'"
        else:
            return
        raise StorageError(
            f"{show(uri)} {what}; names are taken below {show(str(self.root))} and must stay "
            f"there. Write the name relative to that folder, or pass outside=True to LocalStorage.",
            reason="outside",
        )

    def _refuse_other_kinds(self, uri: str, mode: int) -> None:
        kind = other_kind(mode)
        if kind is not None:
            raise StorageError(
                f"{show(uri)} in {show(str(self.root))} is {kind}, not a file", reason="not_a_file"
            )

    def _refuse(self, uri: str, name: bytes, error: OSError) -> NoReturn:
        if error.errno in _MISSING:
            raise StorageError(
                f"no file {show(uri)} in {show(str(self.root))} ({error.strerror})."
                f"{self._hint(name)}",
                reason="missing",
            ) from None
        raise StorageError(
            f"{show(uri)} in {show(str(self.root))} cannot be read: {error.strerror}",
            reason="io",
            is_transient=is_transient(error),
        ) from error

    def _hint(self, name: bytes) -> str:
        """What a person would try next, when one of the two common slips is the cause."""
        if b"\\" in name and os.path.exists(self._prefix + name.replace(b"\\", b"/")):
            return " It exists with '/' where the manifest has '\\'."
        text = name.decode("utf-8", "surrogateescape")
        for form in ("NFC", "NFD"):
            other = unicodedata.normalize(form, text).encode("utf-8", "surrogateescape")
            if other != name and os.path.exists(self._prefix + other):
                return f" It exists in Unicode form {form}: the manifest spells it in another one."
        return ""

    def __repr__(self) -> str:
        return f"LocalStorage({str(self.root)!r}, outside={self.outside})"


def lies_inside(descriptor: int, prefix: bytes) -> bool | None:
    """Whether the open file lies below `prefix`; None where the kernel does not tell."""
    try:
        path = os.readlink(b"/proc/self/fd/%d" % descriptor)
    except OSError:
        return None
    # Of what no path leads to it says "(unreachable)/...".
    return path.startswith(prefix) if path.startswith(b"/") else None


def leads_inside(path: bytes, prefix: bytes) -> bool:
    """Whether `path`, every link followed, leads below `prefix`."""
    return os.path.realpath(path).startswith(prefix)


def _encode_root(root: Path) -> bytes:
    # A Path that came from the command line was decoded by the locale; one that came from a
    # manifest by UTF-8. Both are UTF-8 on every system where Python has not been told otherwise.
    text = str(root)
    if sys.getfilesystemencoding().lower() == "utf-8":
        return text.encode("utf-8", "surrogateescape")
    return os.fsencode(text)
