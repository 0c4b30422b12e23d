"""The bad images of a run: named, counted, and bounded by a budget."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infeed.errors import TooManyBadImagesError
from infeed.printable import printable
from infeed.process_lock import ProcessLock
from infeed.stream.journal import Journal

logger = logging.getLogger(__name__)

# A run over a broken disk must not fill memory or terminal with names.
KEPT_EXAMPLES = 1000
LOGGED_EXAMPLES = 20

HOPELESS = 64
"""So many bad images and not one good one: it is the wrong folder, whatever share is allowed."""


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
        records: rows of the manifest. A share is one of all of them, so that a few bad images
            among the first do not stop a run that would stay below it.
        journal: gets each bad and each recovered image; None: nothing does.
    """

    def __init__(
        self, max_bad: int | float, *, records: int, journal: Journal | None = None
    ) -> None:
        is_number = isinstance(max_bad, int | float | np.number) and not isinstance(max_bad, bool)
        share = isinstance(max_bad, float | np.floating)
        if not is_number or max_bad < 0 or (share and not max_bad <= 1):
            raise ValueError(
                "max_bad must be a count of 0 or more (an int), "
                f"or a share from 0.0 to 1.0 (a float), got {max_bad!r}"
            )
        # 7 % of 100 are 7, and 0.07 * 100 is a little more than that.
        self.budget = math.ceil(round(max_bad * records, 6)) if share else int(max_bad)
        self.journal = journal
        self._unwritten: dict[tuple[int, str], BadImage] = {}  # while there is no journal
        self._bears_all = self.budget >= records
        self._lock = ProcessLock()
        self._bad: dict[int, BadImage] = {}
        self._recovered: dict[int, BadImage] = {}
        self._reasons: dict[int, str] = {}  # of all, by position
        self._recovered_positions: set[int] = set()
        self._told = (0, 0)
        self._has_good = False

    @property
    def bad(self) -> tuple[BadImage, ...]:
        """The bad images met so far, by position; at most `KEPT_EXAMPLES` of them."""
        with self._lock.here():
            return tuple(self._bad[p] for p in sorted(self._bad))

    @property
    def recovered(self) -> tuple[BadImage, ...]:
        """Images whose file is faulty but whose pixels were had, by position; as many at most."""
        with self._lock.here():
            return tuple(self._recovered[p] for p in sorted(self._recovered))

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """int64 (count,), the records that were bad so far, in order: all of them."""
        with self._lock.here():
            return np.array(sorted(self._reasons), np.int64)

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were bad so far for each reason, the most frequent first."""
        with self._lock.here():
            return dict(Counter(self._reasons.values()).most_common())

    def count(self) -> int:
        """How many different records were bad so far."""
        with self._lock.here():
            return len(self._reasons)

    def count_recovered(self) -> int:
        """How many different records were recovered so far."""
        with self._lock.here():
            return len(self._recovered_positions)

    def add(self, image: BadImage) -> None:
        """Names a bad image.

        Raises:
            TooManyBadImagesError: there are more than the budget allows.
        """
        with self._lock.here():
            is_new = image.position not in self._reasons
            self._reasons.setdefault(image.position, image.reason)
            count = len(self._reasons)
            if is_new and count <= KEPT_EXAMPLES:
                self._bad[image.position] = image
        if is_new:
            self._log(image, count)
            self._write(image)
        self.check()

    def add_good(self) -> None:
        """Notes that there are good images, too."""
        self._has_good = True

    def check(self) -> None:
        """Says again, whoever asks, that there are too many: the first time may go unheard.

        A batch that was made ahead and thrown away takes its error with it.

        Raises:
            TooManyBadImagesError: the budget is used up, or nothing is good.
        """
        count = self.count()
        is_hopeless = count >= HOPELESS and not self._has_good and not self._bears_all
        if count > self.budget or is_hopeless:
            raise TooManyBadImagesError(self.summary())

    def _log(self, image: BadImage, count: int) -> None:
        if count <= LOGGED_EXAMPLES:
            logger.warning("bad image (%s): %s", image.reason, image.message)
        if count == LOGGED_EXAMPLES + 1:
            logger.warning("more bad images follow; they are counted, no longer named here")

    def add_recovered(self, image: BadImage) -> None:
        """Records an image that only a lenient decoder could read."""
        self.add_good()
        with self._lock.here():
            is_new = image.position not in self._recovered_positions
            self._recovered_positions.add(image.position)
            if is_new and len(self._recovered) < KEPT_EXAMPLES:
                self._recovered[image.position] = image
        if is_new:
            self._write(image)

    def write_to(self, journal: Journal) -> None:
        """Sets the journal, if there is none, and gives it what was met without one.

        What `load_state_dict` has told of is in it already.
        """
        with self._lock.here():
            if self.journal is not None:
                return
            self.journal = journal
            unwritten, self._unwritten = list(self._unwritten.values()), {}
        for image in unwritten:
            journal.add(image)

    def _write(self, image: BadImage) -> None:
        with self._lock.here():
            journal = self.journal
            if journal is None and len(self._unwritten) < KEPT_EXAMPLES:
                self._unwritten[image.position, image.reason] = image
        if journal is not None:
            journal.add(image)

    def tell(self) -> None:
        """Logs one line that sums up, if there are bad images that no such line has told of."""
        with self._lock.here():
            count, recovered = counts = len(self._reasons), len(self._recovered_positions)
            if counts == self._told:
                return
            self._told = counts
        parts = [f"{_images(count)} so far: {self._by_reason()}"] if count else []
        if recovered:
            parts.append(f"{recovered} read in spite of a fault")
        if self.journal is not None:
            parts[-1] += f". They are listed in {printable(str(self.journal.path))}"
        logger.warning("%s", "; ".join(parts))

    def state_dict(self) -> dict[str, Any]:
        """What was met so far, as JSON values, for a run that goes on in another process."""
        with self._lock.here():
            positions = sorted(self._reasons)
            return {
                "positions": positions,
                "reasons": [self._reasons[position] for position in positions],
                "bad": [asdict(image) for image in self._bad.values()],
                "recovered_positions": sorted(self._recovered_positions),
                "has_good": self._has_good,
                "recovered": [asdict(image) for image in self._recovered.values()],
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Counts what `state_dict` told of as met, too; logs nothing, and raises nothing."""
        with self._lock.here():
            reasons = dict(zip(state["positions"], state["reasons"], strict=True))
            reasons |= dict.fromkeys(state["recovered_positions"], "recovered")
            for known in reasons.items():
                self._unwritten.pop(known, None)
            self._reasons |= dict(zip(state["positions"], state["reasons"], strict=True))
            self._has_good |= state["has_good"]
            self._bad |= {image["position"]: BadImage(**image) for image in state["bad"]}
            self._recovered_positions.update(state["recovered_positions"])
            self._recovered |= {
                image["position"]: BadImage(**image) for image in state["recovered"]
            }
            self._told = len(self._reasons), len(self._recovered_positions)

    def summary(self) -> str:
        """The count, the reasons and five examples, as one text of several lines."""
        with self._lock.here():
            count = len(self._reasons)
            examples = [self._bad[p] for p in sorted(self._bad)][:5]
        if count > self.budget:
            line = f"{_images(count)}, and max_bad allows {self.budget}: {self._by_reason()}"
        else:
            line = f"{_images(count)}, and not a single good one: {self._by_reason()}"
        lines = [line, *(f"  {image.message}" for image in examples)]
        if self.journal is not None:
            lines.append(f"All of them are listed in {printable(str(self.journal.path))}.")
        if count > self.budget:
            lines.append("Mend or remove them, or pass a larger max_bad.")
        else:
            cure = "" if self._bears_all else " Where they are to be borne, max_bad=1.0 does."
            lines.append(f"Is it the right folder?{cure}")
        return "\n".join(lines)

    def _by_reason(self) -> str:
        return ", ".join(f"{number} {reason}" for reason, number in self.reasons.items())


def _images(count: int) -> str:
    return f"{count} bad image{'s' * (count != 1)}"
