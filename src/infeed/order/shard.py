"""One process' share of the batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index as as_int
from typing import Any, Final, final

MAX_COUNT: Final = (1 << 31) - 1


@final
@dataclass(frozen=True, slots=True)
class Shard:
    """Process `index` of `count` processes that share every epoch.

    Raises:
        ValueError: `index` is outside 0..count-1, or `count` outside 1..2**31-1.
        TypeError: one of them is not an int.

    >>> Shard(index=1, count=4)
    Shard(index=1, count=4)
    >>> Shard(4, 4)
    Traceback (most recent call last):
    ValueError: Shard.index must be in [0, 4), got 4
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        index = whole_number("Shard.index", self.index)
        count = whole_number("Shard.count", self.count)
        if not 1 <= count <= MAX_COUNT:
            raise ValueError(f"Shard.count must be in [1, {MAX_COUNT}], got {count}")
        if not 0 <= index < count:
            raise ValueError(f"Shard.index must be in [0, {count}), got {index}")
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "count", count)

    def to_json(self) -> dict[str, Any]:
        """A dict that `json` can write and `from_json` reads."""
        return {"index": self.index, "count": self.count}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Shard:
        """The shard that `to_json` described."""
        check_keys("Shard", data, {"index", "count"})
        return cls(index=data["index"], count=data["count"])


def whole_number(name: str, value: object) -> int:
    """`value` as a Python int; numpy's integers count, True and 1.0 do not.

    Raises:
        TypeError: it is no integer.
    """
    if not isinstance(value, bool):
        try:
            return as_int(value)  # type: ignore[arg-type]  # the exception is the check
        except TypeError:
            pass
    raise TypeError(f"{name} must be an int, got {value!r}")


def check_keys(name: str, data: Mapping[str, Any], expected: set[str]) -> None:
    """Raises ValueError unless the keys of `data` are the expected ones."""
    if set(data) != expected:
        raise ValueError(
            f"{name}.from_json needs the keys {sorted(expected)}, got {sorted(data)}. "
            "Was it written by another version of infeed?"
        )
