"""The bad images of a run: named, counted, and bounded by a budget."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from infeed.errors import TooManyBadImagesError

logger = logging.getLogger(__name__)

# A run over a broken disk must not fill memory or terminal with names.
KEPT_EXAMPLES = 1000
LOGGED_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class BadImage:
    """One image that could not be had, or only by a lenient decoder.

    Attributes:
        position: its record's number in the manifest.
        uri: its name there.
        reason: a stable code: see `infeed.errors`; `recovered` when pixels were had.
        message: what happened, for people.
    """

    position: int
    uri: str
    reason: str
    message: str


class Quarantine:
    """Counts each bad record once, however often it comes, and says when it is too many.

    Args:
        max_bad: how many different bad records a run may have: a count, or a share of
            `records` as a float between 0 and 1.
        records: rows of the manifest.
    """

    def __init__(self, max_bad: int | float, *, records: int) -> None:
        share = isinstance(max_bad, float)
        is_number = isinstance(max_bad, int | float) and not isinstance(max_bad, bool)
        if not is_number or max_bad < 0 or (share and not max_bad <= 1):
            raise ValueError(
                "max_bad must be a count of 0 or more (an int), "
                f"or a share from 0.0 to 1.0 (a float), got {max_bad!r}"
            )
        self.budget = math.ceil(max_bad * records) if share else int(max_bad)
        self._lock = threading.Lock()
        self._bad: dict[int, BadImage] = {}
        self._recovered: dict[int, BadImage] = {}
        self._positions: set[int] = set()

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """The bad images met so far, by position; at most `KEPT_EXAMPLES` of them."""
        with self._lock:
            return tuple(self._bad[p] for p in sorted(self._bad))

    @property
    def recovered(self) -> tuple[BadImage, ...]:
        """Images whose file is faulty but whose pixels were had, by position."""
        with self._lock:
            return tuple(self._recovered[p] for p in sorted(self._recovered))

    def count(self) -> int:
        """How many different records were bad so far."""
        with self._lock:
            return len(self._positions)

    def add(self, image: BadImage) -> None:
        """Names a bad image.

        Raises:
            TooManyBadImagesError: there are more than the budget allows.
        """
        with self._lock:
            is_new = image.position not in self._positions
            self._positions.add(image.position)
            count = len(self._positions)
            if is_new and count <= KEPT_EXAMPLES:
                self._bad[image.position] = image
        if is_new:
            self._log(image, count)
        self.check()

    def check(self) -> None:
        """Says again, whoever asks, that there are too many: the first time may go unheard.

        A batch that was made ahead and thrown away takes its error with it.

        Raises:
            TooManyBadImagesError: the budget is used up.
        """
        if self.count() > self.budget:
            raise TooManyBadImagesError(self.summary())

    def _log(self, image: BadImage, count: int) -> None:
        if count <= LOGGED_EXAMPLES:
            logger.warning("bad image (%s): %s", image.reason, image.message)
        if count == LOGGED_EXAMPLES + 1:
            logger.warning("more bad images follow; they are counted, no longer named here")

    def add_recovered(self, image: BadImage) -> None:
        """Records an image that only a lenient decoder could read."""
        with self._lock:
            if len(self._recovered) < KEPT_EXAMPLES:
                self._recovered.setdefault(image.position, image)

    def state_dict(self) -> dict[str, Any]:
        """What was met so far, as JSON values, for a run that goes on in another process."""
        with self._lock:
            return {
                "positions": sorted(self._positions),
                "bad": [asdict(image) for image in self._bad.values()],
                "recovered": [asdict(image) for image in self._recovered.values()],
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Counts what `state_dict` told of as met, too; logs nothing, and raises nothing."""
        with self._lock:
            self._positions.update(state["positions"])
            self._bad |= {image["position"]: BadImage(**image) for image in state["bad"]}
            self._recovered |= {
                image["position"]: BadImage(**image) for image in state["recovered"]
            }

    def summary(self) -> str:
        """The count, the reasons and five examples, as one text of several lines."""
        with self._lock:
            count = len(self._positions)
            examples = [self._bad[p] for p in sorted(self._bad)][:5]
            reasons = Counter(image.reason for image in self._bad.values())
        lines = [
            f"{count} bad image{'s' * (count != 1)}, and max_bad allows {self.budget}: "
            + ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        ]
        lines += [f"  {image.message}" for image in examples]
        lines.append("Mend or remove them, or pass a larger max_bad.")
        return "\n".join(lines)
