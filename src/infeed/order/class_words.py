"""What a sampling by class means for these classes, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from infeed.order.members import ClassMembers
from infeed.order.sampling import ClassWeights, Sampling

_MOST_NAMES = 5


def describe(
    sampling: Sampling | ClassWeights, members: ClassMembers, class_names: Sequence[str]
) -> str:
    """A few sentences: the quotas, and what becomes of the smallest and the largest class.

    Args:
        sampling: one that is by class.
        class_names: the names of the classes, by number.

    Raises:
        ValueError: the sampling does not fit the classes.

    >>> print(describe("balanced", ClassMembers([0] * 9 + [1]), ["leaf", "rust"]))
    sampling='balanced': every epoch draws 10 images, 5 from each class. Class 'leaf' has 9 \
images, up to 5 of which come in an epoch, and all of them in the first 2. Class 'rust' has \
1 image, which comes 5 times an epoch.
    """
    quotas = members.quotas(sampling)[0].tolist()
    counts = members.counts.tolist()
    drawn = [c for c, quota in enumerate(quotas) if quota]
    fewest, most = min(quotas[c] for c in drawn), max(quotas[c] for c in drawn)
    each = f"{most} from each" if fewest == most else f"from {fewest} to {most} from a"
    name = f"sampling={sampling!r}" if isinstance(sampling, str) else "sampling by weights"
    sentences = [
        f"{name}: every epoch draws {_images(sum(quotas))}, {each} class.",
    ]
    # In the order of their numbers; one sentence where they are the same class.
    by_size = sorted(drawn, key=counts.__getitem__)
    extremes = {by_size[0], by_size[-1]}
    sentences += [
        f"Class {class_names[c]!r} has {_images(counts[c])}, {_share(counts[c], quotas[c])}."
        for c in sorted(extremes)
    ]
    left_out = [c for c, quota in enumerate(quotas) if counts[c] and not quota]
    if left_out:
        names = ", ".join(repr(class_names[c]) for c in left_out[:_MOST_NAMES])
        more = f" and {len(left_out) - _MOST_NAMES} more" if len(left_out) > _MOST_NAMES else ""
        images = _images(sum(counts[c] for c in left_out))
        sentences.append(f"Left out, with weight 0: {names}{more}, {images}.")
    return " ".join(sentences)


def _share(count: int, quota: int) -> str:
    """What a quota means for a class of `count` images."""
    which = "which comes" if count == 1 else "each of which comes"
    if quota % count == 0:
        return f"{which} {_times(quota // count)} an epoch"
    if quota > count:
        return f"{which} {quota / count:.1f} times an epoch on average"
    # Fewer where the epoch begins in the last part of a permutation.
    epochs = -(-count // quota)
    return f"up to {quota} of which come in an epoch, and all of them in the first {epochs}"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
