"""What a leaf set will be, decided before a pixel is drawn: names, labels, blemishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from infeed.demo.leaf import CLASSES

Split = Literal["train", "validation"]

# How often each class occurs, by label: 8 to 1, for sound leaves abound.
_SHARES: Final = (8.0, 3.2, 2.0, 5.0, 1.4, 1.0)

# Counted up when the same arguments give another set, so that an old one is not taken for it.
_DRAWING: Final = 1


@dataclass(frozen=True)
class Plan:
    """The arguments that decide what a set is, as its marker file holds them."""

    train: int
    validation: int
    size: int
    seed: int
    drawing: int = _DRAWING

    def __post_init__(self) -> None:
        least = {"train": 2 * len(CLASSES), "validation": len(CLASSES), "size": 32, "seed": 0}
        for name, smallest in least.items():
            number = getattr(self, name)
            if number < smallest:
                raise ValueError(f"{name} must be at least {smallest}, got {number}")

    def generator(self, purpose: str, index: int = 0) -> np.random.Generator:
        """Chance for one thing alone: no picture depends on how many came before it."""
        words = [self.seed, int.from_bytes(purpose.encode(), "big"), index]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass(frozen=True)
class PlannedFile:
    """A row of a manifest and the picture behind it.

    Attributes:
        index: which picture of the split; a copy has its original's.
        truncated: whether the file ends too early.
    """

    split: Split
    index: int
    label: int
    name: str
    truncated: bool = False


@dataclass(frozen=True)
class PlannedSet:
    """Every file in the order of the manifests, and the names of the odd ones."""

    files: tuple[PlannedFile, ...]
    truncated: str
    duplicate: tuple[str, str]

    def of(self, split: Split) -> list[PlannedFile]:
        """The rows of one manifest."""
        return [file for file in self.files if file.split == split]


def plan_files(plan: Plan) -> PlannedSet:
    """The files of a set: train first, then validation."""
    train = _pictures(plan, "train", plan.train - 1)
    chance = plan.generator("blemishes")
    first, second = chance.choice(len(train), 2, replace=False)
    original = train[first]
    whole = train[second]
    truncated = PlannedFile("train", whole.index, whole.label, whole.name, truncated=True)
    train[second] = truncated
    stem, dot, suffix = original.name.rpartition(".")
    copy = PlannedFile("train", original.index, original.label, f"{stem} - 副本{dot}{suffix}")
    train.insert(int(chance.integers(len(train) + 1)), copy)
    validation = _pictures(plan, "validation", plan.validation)
    return PlannedSet((*train, *validation), truncated.name, (original.name, copy.name))


def _pictures(plan: Plan, split: Split, count: int) -> list[PlannedFile]:
    """`count` pictures in random order: each class is there, by its share."""
    wanted = np.asarray(_SHARES) / sum(_SHARES) * (count - len(_SHARES))
    counts = 1 + wanted.astype(np.int64)
    missing = count - int(counts.sum())
    # What rounding down has left over goes where it took the most.
    counts[np.argsort(counts - 1 - wanted, kind="stable")[:missing]] += 1
    by_class = np.repeat(np.arange(len(counts)), counts)
    labels = plan.generator(f"{split} labels").permutation(by_class).tolist()
    return [
        PlannedFile(split, index, label, _name(plan, split, index))
        for index, label in enumerate(labels)
    ]


def _name(plan: Plan, split: Split, index: int) -> str:
    """A name like those in the wild; no two of a set are equal, not even by their case."""
    digits = plan.generator(f"{split} name", index).bytes(16).hex()
    number = index + (plan.train if split == "validation" else 0)
    match index % 20:
        case 3 | 13:
            return f"苹果_叶片_{number:04d}.jpg"
        case 6 | 16:
            return f"Leaf {number}.JPG"
        case 9:  # saved again by a picture viewer, which signs its work
            return f"{digits}_看图王.jpg"
        case 18:  # a copy by its name; the original is not in the set
            return f"{digits} - 副本.jpg"
        case _:
            return f"{digits}.jpg"
