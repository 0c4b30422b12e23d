"""Two measurements, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from infeed.bench.result import EpochSource
from infeed.plain_file import other_kind
from infeed.printable import printable, show

# Of the JSON of a measurement, which has some kilobytes for each epoch.
_MOST_BYTES: Final = 64 * 1024 * 1024

_SPEEDS: Final = (
    ("decoded", "decoded_images_per_second"),
    ("decoded, cold", "cold_decoded_images_per_second"),
    ("the decoder alone", "limit_images_per_second"),
    ("from the cache", "cached_images_per_second"),
    ("from the cache, cold", "cold_cached_images_per_second"),
    ("copies alone", "copy_images_per_second"),
)
_RATIOS: Final = (("decoded / the decoder", "ratio"), ("cache / copies", "cached_ratio"))
_FIT: Final = (
    ("fit from memory", "memory_step_ms", "ms a step"),
    ("fit fed", "fed_step_ms", "ms a step"),
    ("fed / from memory", "ratio", ""),
)

# A part of thread time that is less, in microseconds an image, is the clock's own unrest.
_LEAST_US: Final = 1.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of two measurements.

    Attributes:
        name: what it is of.
        unit: of both; empty for a ratio.
        then: the earlier one.
        now: the later one.
        ratio: now over then; None where then is 0.
    """

    name: str
    unit: str
    then: float
    now: float
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two measurements.

    Attributes:
        figures: those that both have.
        differences: of settings, set and machine, a sentence each: where there is one, the
            figures are of two different things.
    """

    figures: tuple[Figure, ...]
    differences: tuple[str, ...]


def read_measurement(path: Path) -> dict[str, Any]:
    """What `infeed bench --json` has printed into a file.

    Raises:
        ValueError: it holds something else.
        OSError: it cannot be read.
    """
    kind = other_kind(path.stat().st_mode)
    if kind is not None:
        raise ValueError(f"{show(str(path))} is {kind}, not a file")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    try:
        found = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{show(str(path))} is not what `infeed bench --json` prints: {printable(str(error))}. "
            "Write one with `infeed bench ... --json > FILE`."
        ) from error
    return found


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> Comparison:
    """Two measurements, as `read_measurement` returns them.

    >>> then = {"epochs": [], "limit_images_per_second": 100.0, "settings": {"threads": 1}}
    >>> now = {"epochs": [], "limit_images_per_second": 150.0, "settings": {"threads": 2}}
    >>> both = compare(then, now)
    >>> both.figures[0].name, both.figures[0].ratio
    ('the decoder alone', 1.5)
    >>> both.differences
    ('the setting threads was 1 and is 2',)
    """
    figures = []
    before, after = dict(_figures(then)), dict(_figures(now))
    for key, new in after.items():
        old = before.get(key)
        if old is not None:
            figures.append(Figure(*key, then=old, now=new, ratio=new / old if old else None))
    return Comparison(tuple(figures), tuple(_differences(then, now)))


def _parsed(data: bytes) -> dict[str, Any]:
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    value = json.loads(data, parse_constant=_no_number)
    if not isinstance(value, dict):
        raise ValueError(f"an object was expected, got {type(value).__name__}")
    epochs = value.get("epochs")
    if not isinstance(epochs, list) or not epochs:
        raise ValueError("it has no epochs")
    for epoch in epochs:
        fields = epoch if isinstance(epoch, dict) else {}
        if not _number(fields.get("images")) or fields.get("source") not in get_args(EpochSource):
            raise ValueError("an epoch of it has no images, or no source")
    if _number(value.get("limit_images_per_second")) is None:
        raise ValueError("it has no limit_images_per_second")
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) and value >= 0 else None


def _figures(run: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], float]]:
    """((name, unit), value) of all figures that a measurement has."""
    named = [(name, "images/s", run.get(key)) for name, key in _SPEEDS]
    named += [(name, "", run.get(key)) for name, key in _RATIOS]
    fit = run.get("fit")
    if isinstance(fit, dict):
        named += [(name, unit, fit.get(key)) for name, key, unit in _FIT]
    named += _stages(run)
    named.append(("memory at most", "MiB", run.get("peak_rss_mb")))
    for name, unit, value in named:
        number = _number(value)
        if number is not None:
            yield (name, unit), number


def _stages(run: Mapping[str, Any]) -> list[tuple[str, str, object]]:
    """Thread time an image, by what it was spent on, for each kind of epoch."""
    images: dict[str, float] = {}
    spent: dict[tuple[str, str], float] = {}
    for epoch in run["epochs"]:
        kind = str(epoch["source"]) + (", cold" if epoch.get("is_cold") is True else "")
        images[kind] = images.get(kind, 0) + epoch["images"]
        stages = epoch.get("stages")
        for stage, seconds in stages.items() if isinstance(stages, dict) else ():
            number = _number(seconds)
            if number is not None:
                spent[kind, stage] = spent.get((kind, stage), 0.0) + number
    micros = {key: 1e6 * seconds / images[key[0]] for key, seconds in spent.items()}
    return [
        (f"{kind}: {stage.replace('_', ' ')}", "us an image", micro)
        for (kind, stage), micro in micros.items()
        if micro >= _LEAST_US
    ]


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for part, word in (("settings", "setting"), ("machine", "machine's"), ("set", "set's")):
        old, new = _flat(then.get(part)), _flat(now.get(part))
        if new and not old:
            yield f"the earlier run does not say its {part}, as runs of an older infeed do not"
            continue
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                was, now_is = _shown(old, name), _shown(new, name)
                yield f"the {word} {name} was {was} and is {now_is}"


def _flat(values: object, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _shown(flat: Mapping[str, Any], name: str) -> str:
    return show(flat[name]) if name in flat else "not told"
