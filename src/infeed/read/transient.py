"""Which failures of a system may be over a moment later."""

from __future__ import annotations

import errno
from typing import Final

# EIO is what file systems in user space and network mounts say of any trouble; a broken disk says
# it too, and says it again. EMFILE and ENFILE pass when another thread closes its file.
_TRANSIENT: Final = frozenset(
    getattr(errno, name)
    for name in (
        "EIO",
        "ESTALE",
        "EAGAIN",
        "EWOULDBLOCK",
        "EINTR",
        "EBUSY",
        "ETIMEDOUT",
        "ECONNRESET",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ENOTCONN",
        "EPIPE",
        "EREMOTEIO",
        "ENETDOWN",
        "ENETUNREACH",
        "ENETRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "ENOBUFS",
    )
    if hasattr(errno, name)
)

# Of getaddrinfo: the name server does not answer now.
_TRY_NAME_AGAIN: Final = -3


def is_transient(error: OSError) -> bool:
    """Whether the same call may succeed a moment later.

    Connections that break and waits that end count, whether or not they have a number. An error
    that names another as its reason, as those of `urllib` do, counts as that one.

    >>> is_transient(OSError(errno.ESTALE, "")), is_transient(PermissionError(errno.EACCES, ""))
    (True, False)
    """
    if error.errno in _TRANSIENT or error.errno == _TRY_NAME_AGAIN:
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    reason = getattr(error, "reason", None)
    return isinstance(reason, OSError) and reason is not error and is_transient(reason)
