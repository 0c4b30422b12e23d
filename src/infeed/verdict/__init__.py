"""What holds training back, and what would help, told from what was counted."""

from infeed.verdict.facts import CacheFacts, Facts
from infeed.verdict.gauge import Mark, facts_between, mark
from infeed.verdict.judge import INPUT_SHARE, judge
from infeed.verdict.verdict import Bound, Cause, Remedy, RemedyKind, Verdict

__all__ = [
    "INPUT_SHARE",
    "Bound",
    "CacheFacts",
    "Cause",
    "Facts",
    "Mark",
    "Remedy",
    "RemedyKind",
    "Verdict",
    "facts_between",
    "judge",
    "mark",
]
