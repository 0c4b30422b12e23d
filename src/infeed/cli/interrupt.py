"""Ctrl-C that does not get lost."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupt:
    """Ctrl-C as a `KeyboardInterrupt` that can be raised again; installed and removed.

    Python drops an exception that is raised while an object dies, and a training loop spends
    much of its time there: without this, one Ctrl-C in six had no effect.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._installed = False

    def install(self) -> None:
        """Takes over Ctrl-C, unless somebody has chosen to ignore it, as `nohup` does."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True

    def remove(self) -> None:
        """Gives Ctrl-C back."""
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if Ctrl-C was pressed and this is still running."""
        if self._pressed:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pressed = True
        raise KeyboardInterrupt
