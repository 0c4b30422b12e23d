"""How far a training loop is ahead of the device."""

from __future__ import annotations

import threading
from typing import Final, final

# Keras dispatches steps without waiting for them. On the CPU, JAX lets 32 of them queue, each
# with its batch: 300 MB at 64x224x224x3, for nothing. Two keep any device busy.
STEPS_AHEAD: Final = 2

# A step that takes longer, or one whose end is never told because it failed on the device:
# then Keras raises what happened as soon as it is let go on.
STEP_SECONDS: Final = 60.0


@final
class StepsAhead:
    """Holds a training loop back while too many of its steps are under way.

    Args:
        limit: so many steps may be under way.
        timeout_seconds: one more may begin after so long.
    """

    def __init__(self, limit: int = STEPS_AHEAD, *, timeout_seconds: float = STEP_SECONDS) -> None:
        self._limit = limit
        self._timeout = timeout_seconds
        self._under_way = 0
        self._changed = threading.Condition()

    def begin(self) -> bool:
        """Counts a step as under way, when fewer than the limit are, or it took too long.

        Returns:
            Whether fewer were.
        """
        with self._changed:
            has_room = self._changed.wait_for(
                lambda: self._under_way < self._limit, timeout=self._timeout
            )
            # Also one that is not held back any longer: its end is counted, too.
            self._under_way += 1
            return has_room

    def end(self) -> None:
        """Counts a step as done. From any thread."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify()
