"""`DecodeBudget`: how many bytes of pictures may be in the making at once, over all threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

BUDGET_BYTES: Final = 2 * 1024**3
"""Some thirty photos of 24 megapixels, or the one largest picture that a recipe lets through."""


class _Account:
    """What is held, and who waits; of one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.changed = threading.Condition()
        self.held = 0
        self.waiting: deque[object] = deque()


@final
class DecodeBudget:
    """A number of bytes that threads take from and give back; who asks for more waits.

    First come, first served: a large picture is not passed by small ones for ever. One that is
    larger than the whole budget goes when nobody holds anything. Whoever holds must not ask again.

    Args:
        nbytes: how many may be held at once.
    """

    __slots__ = ("_account", "_nbytes")

    def __init__(self, nbytes: int = BUDGET_BYTES) -> None:
        if nbytes < 1:
            raise ValueError(f"nbytes must be at least 1, got {nbytes}")
        self._nbytes = nbytes
        self._account = _Account()

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._account.held

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._account.waiting)

    @contextmanager
    def hold(self, nbytes: int) -> Iterator[None]:
        """Holds so many bytes for the length of a `with` block, once there are as many."""
        account = self._account
        if account.process != os.getpid():
            # In a fork, those who held and waited are gone, and their lock may be taken for ever.
            account = self._account = _Account()
        ticket = object()
        with account.changed:
            account.waiting.append(ticket)
            try:
                account.changed.wait_for(lambda: self._may_go(account, ticket, nbytes))
                account.held += nbytes
            finally:
                # Also where the wait is interrupted: the next in line must not wait for us.
                account.waiting.remove(ticket)
                account.changed.notify_all()
        try:
            yield
        finally:
            with account.changed:
                account.held -= nbytes
                account.changed.notify_all()

    def _may_go(self, account: _Account, ticket: object, nbytes: int) -> bool:
        if account.waiting[0] is not ticket:
            return False
        return not account.held or account.held + nbytes <= self._nbytes


SHARED: Final = DecodeBudget()
"""The one of this process, since training and validation share its memory."""
