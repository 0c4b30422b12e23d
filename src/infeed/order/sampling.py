"""What an epoch is drawn as: a name, or the weights of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import numpy as np

from infeed.order.shard import whole_number

Sampling = Literal["shuffle", "sequential", "replacement", "balanced", "sqrt", "effective"]
ClassWeights = tuple[tuple[int, float], ...]

SAMPLINGS: Final[tuple[str, ...]] = get_args(Sampling)

# Classes by quotas; so are weights of classes.
BY_CLASS: Final = ("balanced", "sqrt", "effective")


def is_by_class(sampling: Sampling | ClassWeights) -> bool:
    """Whether an epoch gives each class a quota, so that it needs the classes of the records."""
    return not isinstance(sampling, str) or sampling in BY_CLASS


def checked_sampling(sampling: Any) -> Sampling | ClassWeights:
    """A name as it is; weights of classes as pairs (class number, weight), sorted.

    Args:
        sampling: one of `SAMPLINGS`, or a mapping {class number: weight}, or its pairs.

    Raises:
        ValueError: another name, no class, a class twice, none with a weight above 0, or a
            weight that is negative or not finite.
        TypeError: it is neither, a class number is no int, or a weight is no number.
    """
    if isinstance(sampling, str) and sampling in SAMPLINGS:
        name: Sampling = sampling  # type: ignore[assignment]  # just compared with them all
        return name
    if not isinstance(sampling, Mapping | tuple | list):
        raise ValueError(
            f"Sampler.sampling must be one of {', '.join(map(repr, SAMPLINGS))}, or a dict "
            f"{{class number: weight}}, got {sampling!r}"
        )
    pairs = sampling.items() if isinstance(sampling, Mapping) else [tuple(p) for p in sampling]
    weights: dict[int, float] = {}
    for label, weight in pairs:
        number = whole_number("a class number of Sampler.sampling", label)
        if number < 0 or number in weights:
            raise ValueError(f"Sampler.sampling must name each class once, from 0, got {number}")
        weights[number] = _checked_weight(number, weight)
    if not any(weights.values()):
        raise ValueError(
            f"Sampler.sampling must give a class a weight above 0, got {dict(weights)}"
        )
    return tuple(sorted(weights.items()))


def _checked_weight(number: int, weight: object) -> float:
    if isinstance(weight, np.generic):
        weight = weight.item()
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        raise TypeError(f"the weight of class {number} must be a number, got {weight!r}")
    if not 0 <= weight < math.inf:
        raise ValueError(f"the weight of class {number} must be finite and >= 0, got {weight!r}")
    return weight
