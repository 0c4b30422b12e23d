"""Every exception that infeed raises on purpose.

    InfeedError
    ├── ManifestError            the list of images is wrong: file, row, value, cure
    ├── BadImageError            one image cannot be had; `reason` is a stable code
    │   ├── StorageError         ... because its bytes cannot be read
    │   └── DecodeError          ... because its bytes are not a picture that we take
    ├── TooManyBadImagesError    the budget of bad images is used up
    ├── ResumeError              what was saved belongs to another run, or is none
    ├── StalledError             a disk or a network that nothing works without does not answer
    └── LoaderClosedError        a batch was asked of an epoch that has ended, or is ending

A wrong argument is a plain `ValueError` or `TypeError`; a missing optional package an
`ImportError` that names the command which installs it.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

StorageReason = Literal["missing", "not_a_file", "outside", "io", "timed_out"]
DecodeReason = Literal["empty", "not_an_image", "truncated", "corrupt", "too_large", "unsupported"]

STORAGE_REASONS: Final[tuple[str, ...]] = get_args(StorageReason)
DECODE_REASONS: Final[tuple[str, ...]] = get_args(DecodeReason)


class InfeedError(Exception):
    """The root of everything below."""


class ManifestError(InfeedError, ValueError):
    """The manifest cannot be used as it is. The text names file, row, value and cure.

    Also a `ValueError`, as Keras raises for a data set that it cannot use.
    """


class BadImageError(InfeedError):
    """One image cannot be had.

    Attributes:
        reason: a stable code, one of `STORAGE_REASONS` or `DECODE_REASONS`; what journals
            and counters are keyed by. The message is for people and may change.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StorageError(BadImageError):
    """The bytes of an image cannot be read.

    `missing`: nothing has that name; `not_a_file`: a folder, pipe, socket or device;
    `outside`: the name leads out of the image folder; `io`: the system refused or failed;
    `timed_out`: it did not answer in time.

    Attributes:
        is_transient: whether the same read may succeed a moment later: a network that fails, a
            file server that restarts, too many open files.
    """

    def __init__(self, message: str, *, reason: StorageReason, is_transient: bool = False) -> None:
        super().__init__(message, reason=reason)
        self.is_transient = is_transient


class DecodeError(BadImageError):
    """The bytes of an image are not a picture that we take.

    `empty`: no bytes; `not_an_image`: no known format; `truncated`: the data ends too
    early; `corrupt`: the data contradicts itself; `too_large`: more pixels than the recipe
    allows; `unsupported`: a real picture in a form that no decoder here reads.
    """

    def __init__(self, message: str, *, reason: DecodeReason) -> None:
        super().__init__(message, reason=reason)


class TooManyBadImagesError(InfeedError):
    """More images were bad than `max_bad` allows. The text lists reasons and examples."""


class ResumeError(InfeedError, ValueError):
    """What was saved cannot be continued. The text names what differs, both values, the cure."""


class StalledError(InfeedError):
    """Nothing can go on, since something outside does not answer. The text names it."""


class LoaderClosedError(InfeedError):
    """A batch was asked of an epoch whose `with` block has ended, or is ending."""
