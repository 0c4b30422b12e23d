"""What the rounds of a comparison say: medians, ratios, and which rounds to believe."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catalogue import INFEED

# A median of fewer is none.
ENOUGH_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """A peer's figures over the rounds.

    Attributes:
        rounds: how many are behind these figures.
        quiet: whether others left the machine alone in these rounds. Where it was so in too few,
            the figures are of all rounds, and not to be believed: what was measured beside
            another program is compared with what was not.
        images_per_second: median of the warm epochs.
        ratio: median over the rounds of infeed's speed over this one's; None without infeed.
        ratio_range: the lowest and the highest.
        first_batch_seconds: median from asking for the first epoch of a process to its first
            batch, starting threads and processes included; None for the limit.
        next_first_batch_seconds: the same for the second epoch.
        cpu_ms_per_image: median of the processor's time, in the system too, over all processes.
    """

    rounds: int
    quiet: bool
    images_per_second: float
    ratio: float | None
    ratio_range: tuple[float, float] | None
    first_batch_seconds: float | None
    next_first_batch_seconds: float | None
    cpu_ms_per_image: float | None


def is_quiet(round_: dict[str, Any], *peers: str) -> bool:
    """Whether others left the machine alone while each of these peers was measured."""
    return all(round_[peer]["warm"]["quiet"] for peer in peers)


def summary(rounds: Sequence[dict[str, Any]], peer: str) -> Summary:
    """A peer's figures over the rounds in which it and infeed had the machine for themselves.

    Args:
        rounds: of each, what `measure.py` printed for each peer.
        peer: its name.
    """
    compared = [INFEED] if INFEED in rounds[0] else []
    quiet = [round_ for round_ in rounds if is_quiet(round_, peer, *compared)]
    enough = len(quiet) >= ENOUGH_ROUNDS
    if enough:
        rounds = quiet
    warm = [round_[peer]["warm"] for round_ in rounds]
    ratios = [
        round_[other]["warm"]["images_per_second"] / round_[peer]["warm"]["images_per_second"]
        for round_ in rounds
        for other in compared
    ]
    cold = [round_[peer]["cold"] for round_ in rounds if "cold" in round_[peer]]
    return Summary(
        rounds=len(rounds),
        quiet=enough,
        images_per_second=statistics.median(each["images_per_second"] for each in warm),
        ratio=statistics.median(ratios) if ratios else None,
        ratio_range=(min(ratios), max(ratios)) if ratios else None,
        first_batch_seconds=_median([each["first_batch_seconds"] for each in cold]),
        next_first_batch_seconds=_median([each.get("first_batch_seconds") for each in warm]),
        cpu_ms_per_image=_median(
            [each["cpu_seconds"] / each["images"] * 1e3 for each in warm if "images" in each]
        ),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
