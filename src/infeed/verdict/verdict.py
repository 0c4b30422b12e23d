"""`Verdict`: what holds training back, and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, final

Bound = Literal["input", "model"]

Cause = Literal[
    "model", "storage", "decode", "augment", "float32", "cache_too_small", "cache", "engine"
]

RemedyKind = Literal[
    "threads",
    "uint8",
    "cache_limit",
    "filled_cache",
    "reduced_decode",
    "cache",
    "smaller_files",
    "cheaper_augment",
    "faster_storage",
]

Precision = Literal["about", "roughly", "up to"]

# From here on what is left is too little to be known: the error is as large as the number.
_MANY: Final = 10

_SHARES: Final = {
    "storage": "reading files",
    "decode": "decoding",
    "augment": "the function augment=",
    "float32": "making float32 of uint8",
    "cache": "the cache",
    "engine": "what lies between the stages",
}


@final
@dataclass(frozen=True, slots=True)
class Remedy:
    """A change, and what it would bring.

    Attributes:
        kind: which.
        words: what to type, or to do.
        gain: how many times as fast training would be, validation aside, at least 1. It is bounded
            by the model, by the processor, and by what the rest of the making of batches takes.
        precision: of the gain. `roughly`: steps and the making of batches share the cores, and what
            the steps would take alone is not known; `up to`: if the change costs nothing, or if the
            storage answers as many requests at once as it is asked.
    """

    kind: RemedyKind
    words: str
    gain: float
    precision: Precision = "about"

    @property
    def promise(self) -> str:
        """The gain in words, such as `about 2.0 times as fast`."""
        if self.gain >= _MANY and self.precision != "up to":
            return f"more than {_MANY} times as fast"
        number = f"{self.gain:.1f}" if self.gain < _MANY else f"{self.gain:.0f}"
        return f"{self.precision} {number} times as fast"

    def __str__(self) -> str:
        if self.kind == "filled_cache":
            return f"the cache is being filled: later epochs will train {self.promise}"
        return f"{self.words} would make training {self.promise}"


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds training back, in a line; `print` it.

    Attributes:
        bound: `input`: training waits for batches; `model`: batches wait for training.
        cause: what of the input takes most: `storage` (reading files), `decode`, `augment`,
            `float32` (making it of uint8), `cache_too_small` (decoding what does not fit into it),
            `cache` (reading and writing it), `engine` (all the rest); `model` where that is the
            limit.
        remedies: what would help, best first; empty where nothing would.
        stall_share: the share of the training time in which training stood still for want of a
            batch, 0..1.
        wait_ms: the same in milliseconds a step.
        cause_share: the cause's share of the making of batches, 0..1.
        cores: how many cores the steps share with the making of batches; 0: they do not, or there
            is enough for both.

    >>> print(Verdict("model", "model", (), 0.003, 0.2, 0.0))
    The model is the limit: training waited 0.3% of the time for data. Faster input would not help.
    """

    bound: Bound
    cause: Cause
    remedies: tuple[Remedy, ...]
    stall_share: float
    wait_ms: float
    cause_share: float
    cores: int = 0

    @property
    def advice(self) -> RemedyKind | Literal["nothing"]:
        """The kind of the best remedy."""
        return self.remedies[0].kind if self.remedies else "nothing"

    @property
    def predicted_gain(self) -> float:
        """How many times as fast training would be with the best remedy; 1 where there is none."""
        return self.remedies[0].gain if self.remedies else 1.0

    def says_the_same_as(self, other: Verdict | None) -> bool:
        """Whether it would tell a user nothing new: the same but for numbers."""
        return other is not None and (
            (self.bound, self.cause, self.advice) == (other.bound, other.cause, other.advice)
        )

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values; `text` is the line."""
        return {
            "bound": self.bound,
            "cause": self.cause,
            "advice": self.advice,
            "predicted_gain": round(self.predicted_gain, 3),
            "data_wait_fraction": self.stall_share,
            "data_wait_ms": self.wait_ms,
            "remedies": [
                {
                    "kind": each.kind,
                    "words": each.words,
                    "predicted_gain": round(each.gain, 3),
                    "precision": each.precision,
                }
                for each in self.remedies
            ],
            "text": str(self),
        }

    def __str__(self) -> str:
        if self.bound == "model":
            line = f"The model is the limit: training waited {self.stall_share:.1%} of the time "
            if not self.remedies:
                return f"{line}for data. Faster input would not help."
            return (
                f"{line}for data. But its steps share {self.cores} cores with the making of "
                f"batches: {self.remedies[0]}."
            )
        line = (
            f"Input holds training back: training waited {self.stall_share:.0%} of the time, "
            f"{_milliseconds(self.wait_ms)} a step. "
        )
        if self.cause == "cache_too_small":
            line += f"The cache is full; decoding the rest takes {self.cause_share:.0%}"
        else:
            what = _SHARES[self.cause]
            line += f"{what[0].upper()}{what[1:]} takes {self.cause_share:.0%}"
        line += " of the making of batches"
        if not self.remedies:
            return f"{line}. No setting of infeed would change much."
        others = "".join(
            f"; {each.words} {each.promise}"
            for each in self.remedies[1:2]
            if each.kind != "filled_cache"
        )
        return f"{line}: {self.remedies[0]}{others}."


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
