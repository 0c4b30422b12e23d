"""How many of an epoch's samples each class gets, in exact integers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, lcm
from typing import Final

from infeed.order.sampling import ClassWeights, Sampling

# The beta of Cui et al.: how much of an image is news after all others of its class, near to
# all at first, and nothing after some thousands.
_BETA: Final = Fraction(999, 1000)

_FIXED: Final = 128  # binary places


def class_quotas(sampling: Sampling | ClassWeights, counts: Sequence[int]) -> list[int]:
    """Samples of each class in an epoch; as many in all as there are records.

    Args:
        sampling: one that is by class.
            "balanced": all classes alike;
            "sqrt": shares as the square roots of the numbers of images;
            "effective": shares as n / E(n), E(n) = (1 - beta^n) / (1 - beta), beta = 0.999;
            pairs (class number, weight): shares as the weights.
        counts: images of each class, by its number.

    Raises:
        ValueError: weights that leave out a class with images, name a class that does not
            exist, or are 0 for all classes with images.

    Every class with images and a weight above 0 has a quota of 1 at least. Largest remainders
    get what is left after rounding down, ties the smaller class number.

    Source of "effective": Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective
    Number of Samples", CVPR 2019: classes weigh 1 / E(n) per image there.

    >>> class_quotas("balanced", [1, 8, 3]), class_quotas("sqrt", [1, 8, 3])
    ([4, 4, 4], [2, 6, 4])
    """
    shares = _shares(sampling, counts)
    total = sum(counts)
    quotas = [0] * len(counts)
    open_classes = [c for c, share in enumerate(shares) if share]
    # Who would get less than 1 gets 1, and the others share the rest; which may be too little
    # for another of them.
    while True:
        whole = sum(shares[c] for c in open_classes)
        small = [c for c in open_classes if shares[c] * total < whole]
        if not small:
            break
        for c in small:
            quotas[c] = 1
        total -= len(small)
        open_classes = [c for c in open_classes if not quotas[c]]
    remainders = []
    for c in open_classes:
        quotas[c], remainder = divmod(shares[c] * total, whole)
        remainders.append((-remainder, c))
    left = total - sum(quotas[c] for c in open_classes)
    for _, c in sorted(remainders)[:left]:
        quotas[c] += 1
    return quotas


def _shares(sampling: Sampling | ClassWeights, counts: Sequence[int]) -> list[int]:
    """Integers in the ratio of the classes' shares, 0 for a class that never comes."""
    if sampling == "balanced":
        return [1 if n else 0 for n in counts]
    if sampling == "sqrt":
        return [isqrt(n << _FIXED) for n in counts]
    if sampling == "effective":
        return [_effective_share(n) for n in counts]
    assert not isinstance(sampling, str), sampling
    weights = dict(sampling)
    unknown = [c for c in weights if c >= len(counts)]
    if unknown:
        raise ValueError(
            f"sampling has a weight for class {unknown[0]}; the classes are 0 to {len(counts) - 1}"
        )
    missing = [c for c, n in enumerate(counts) if n and c not in weights]
    if missing:
        raise ValueError(
            f"sampling has no weight for class {missing[0]} (images: {counts[missing[0]]}; classes "
            f"like it: {len(missing)}). Give each class a weight, 0 to leave it out."
        )
    exact = [Fraction(weights.get(c, 0)) if n else Fraction(0) for c, n in enumerate(counts)]
    if not any(exact):
        raise ValueError(f"sampling gives no class with images a weight above 0: {weights}")
    common = lcm(*(share.denominator for share in exact))
    return [share.numerator * (common // share.denominator) for share in exact]


def _effective_share(n: int) -> int:
    """n / E(n), E(n) = (1 - beta^n) / (1 - beta), in fixed-point integers."""
    if not n:
        return 0
    one = 1 << _FIXED
    power, square, exponent = one, one * _BETA.numerator // _BETA.denominator, n
    while exponent:
        if exponent & 1:
            power = power * square >> _FIXED
        square = square * square >> _FIXED
        exponent >>= 1
    effective = (one - power) * _BETA.denominator // (_BETA.denominator - _BETA.numerator)
    return (n << 2 * _FIXED) // effective
