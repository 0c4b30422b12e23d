"""The resumable place, counted in samples of the whole job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

from infeed.order.shard import check_keys, whole_number

# Counts up when the same numbers would mean another place.
CURSOR_VERSION: Final = 1


@final
@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a job is: `sample` samples of epoch `epoch` are done, and all epochs before it.

    Samples are counted over all shards, so that the place does not depend on how many shards
    or how large batches come before or after it.

    Args:
        epoch: 0, 1, ...
        sample: the next sample, a place in the epoch's global order, from 0.

    Raises:
        ValueError: one of them is negative.
        TypeError: one of them is not an int.

    >>> Cursor(epoch=3, sample=6400).to_json()
    {'cursor_version': 1, 'epoch': 3, 'sample': 6400}
    >>> Cursor.from_json({'cursor_version': 1, 'epoch': 3, 'sample': 6400})
    Cursor(epoch=3, sample=6400)
    """

    epoch: int = 0
    sample: int = 0

    def __post_init__(self) -> None:
        for name in ("epoch", "sample"):
            value = whole_number(f"Cursor.{name}", getattr(self, name))
            if value < 0:
                raise ValueError(f"Cursor.{name} must be at least 0, got {value}")
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """A dict that `json` can write and `from_json` reads."""
        return {"cursor_version": CURSOR_VERSION, "epoch": self.epoch, "sample": self.sample}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cursor:
        """The cursor that `to_json` described.

        Raises:
            ValueError: it is not such a dict, or was written for another cursor version.
        """
        check_keys("Cursor", data, {"cursor_version", "epoch", "sample"})
        if data["cursor_version"] != CURSOR_VERSION:
            raise ValueError(
                f"the cursor was saved with cursor version {data['cursor_version']!r}, this infeed "
                f"has {CURSOR_VERSION}. Continue with the infeed that saved it, or start anew."
            )
        return cls(epoch=data["epoch"], sample=data["sample"])


class Place(NamedTuple):
    """Which batch comes next: batch `number` of `epoch`, where batches are cut at `phase`."""

    epoch: int
    number: int
    phase: int
