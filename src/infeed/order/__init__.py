"""WHICH is next: the order of an epoch as arithmetic on integers. No I/O, no state."""

from __future__ import annotations

from infeed.order.class_words import describe
from infeed.order.cursor import Cursor, Place
from infeed.order.cuts import Remainder
from infeed.order.draws import draws
from infeed.order.keyed import hash64, key, uniform_below
from infeed.order.members import ClassMembers
from infeed.order.permutation import permute
from infeed.order.plan import BatchPlan
from infeed.order.sampler import ORDER_VERSION, Sampler
from infeed.order.sampling import ClassWeights, Sampling
from infeed.order.shard import Shard

__all__ = [
    "ORDER_VERSION",
    "BatchPlan",
    "ClassMembers",
    "ClassWeights",
    "Cursor",
    "Place",
    "Remainder",
    "Sampler",
    "Sampling",
    "Shard",
    "describe",
    "draws",
    "hash64",
    "key",
    "permute",
    "uniform_below",
]
