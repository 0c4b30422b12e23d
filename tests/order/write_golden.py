"""Writes golden/*.json: `python tests/order/write_golden.py`.

Run it only when an order changes on purpose, together with `ORDER_VERSION`: runs that were
begun with the old order cannot be resumed with the new one.
"""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from infeed.order import (
    ORDER_VERSION,
    ClassMembers,
    Sampler,
    Shard,
    draws,
    hash64,
    key,
    permute,
    uniform_below,
)
from infeed.order.cuts import REMAINDERS

GOLDEN = Path(__file__).parent / "golden"

WORDS: list[list[int | str]] = [
    [],
    [0],
    [0, 1],
    [1, 0],
    [-1],
    [2**64 - 1],
    [2**64],
    [-(2**200)],
    [""],
    ["0"],
    ["shuffle"],
    ["病叶 - 副本.JPG"],
    [7, "shuffle", 0],
    [7, "shuffle", 1],
    [7, "replacement", 0],
]
HASH_KEYS = [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
HASHED = [0, 1, 2, 3, 196_433, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
BELOW = [1, 2, 61, 196_434, 2**32 - 1, 2**32 + 1, 10**12, 2**63]

# n, seed, epoch
ORDERS = [
    (1, 0, 0),
    (2, 0, 1),
    (5, 7, 0),
    (61, -3, 2),
    (1000, 7, 0),
    (1024, 0, 0),
    (1025, 0, 0),
    (4095, 123456789, 99),
    (31_717, 7, 1),
    (196_434, 7, 0),
    (2**24, 2**70, 3),
    (10**9, 1, 1_000_000),
]


def hashes() -> dict[str, Any]:
    """64-bit words are written in hexadecimal: not every reader of JSON has such integers."""
    words = np.array(HASHED, dtype=np.uint64)
    index = np.arange(6)
    return {
        "key": [{"words": words, "key": f"{key(*words):016x}"} for words in WORDS],
        "hash64": [
            {
                "key": f"{hash_key:016x}",
                "words": [f"{word:016x}" for word in HASHED],
                "hashes": [f"{word:016x}" for word in hash64(hash_key, words).tolist()],
            }
            for hash_key in HASH_KEYS
        ],
        "uniform_below": [
            {"n": f"{n:x}", "key": f"{n ^ 99:016x}", "drawn": [f"{d:x}" for d in drawn]}
            for n in BELOW
            for drawn in [uniform_below(n, n ^ 99, index).tolist()]
        ],
    }


def orders() -> dict[str, Any]:
    """Of each order the first 64 positions, and SHA-256 of a range of it as little-endian int64."""
    cases = []
    for n, seed, epoch in ORDERS:
        order_key = key(seed, "shuffle", epoch)
        first = permute(np.arange(min(n, 64)), n, order_key).tolist()
        start = max(0, n - 10_000)
        positions = permute(np.arange(start, n), n, order_key)
        checksum = hashlib.sha256(positions.astype("<i8").tobytes()).hexdigest()
        cases.append(
            {"n": n, "seed": seed, "epoch": epoch, "first": first}
            | {"start": start, "stop": n, "sha256": checksum}
        )
    return {"order_version": ORDER_VERSION, "orders": cases}


def plans() -> dict[str, Any]:
    cases = []
    for sampling, remainder in product(("shuffle", "sequential", "replacement"), REMAINDERS):
        for batch_size, shard in ((4, Shard(0, 1)), (2, Shard(0, 3)), (2, Shard(2, 3))):
            sampler = Sampler(7, batch_size, sampling, remainder, shard)
            for epoch in (0, 1):
                batches = [sampler.plan(10, epoch, k) for k in range(sampler.steps(10, epoch))]
                cases.append(
                    {
                        "sampler": sampler.to_json(),
                        "n": 10,
                        "epoch": epoch,
                        "positions": [plan.positions.tolist() for plan in batches],
                        "weights": [plan.weights.tolist() for plan in batches],
                    }
                )
    return {"order_version": ORDER_VERSION, "plans": cases}


# Of each class so many records, in turn while they last: from 1 to 100, and one class without.
CLASS_COUNTS = [1, 3, 0, 100, 66, 30]
CLASS_SAMPLINGS: list[str | dict[int, float]] = [
    "balanced",
    "sqrt",
    "effective",
    {0: 1, 1: 0.5, 3: 0, 4: 2.25, 5: 1},
]


def class_labels() -> list[int]:
    rounds = range(max(CLASS_COUNTS))
    return [c for i in rounds for c, count in enumerate(CLASS_COUNTS) if i < count]


def class_plans() -> dict[str, Any]:
    """The quotas, and of some batches the positions and turns."""
    labels = class_labels()
    members = ClassMembers(labels, len(CLASS_COUNTS))
    cases = []
    for sampling, remainder in product(CLASS_SAMPLINGS, ("pad", "carry")):
        for epoch in (0, 3, 10**6):
            sampler = Sampler(7, 12, sampling, remainder, Shard(1, 2))
            steps = sampler.steps(len(labels), epoch)
            batches = [
                sampler.plan(len(labels), epoch, number, members=members)
                for number in (0, steps - 1)
            ]
            cases.append(
                {
                    "sampler": sampler.to_json(),
                    "epoch": epoch,
                    "quotas": members.quotas(sampler.stored_sampling)[0].tolist(),
                    "numbers": [plan.number for plan in batches],
                    "positions": [plan.positions.tolist() for plan in batches],
                    "turns": [plan.turns.tolist() for plan in batches],
                }
            )
    return {"order_version": ORDER_VERSION, "labels": "".join(map(str, labels)), "plans": cases}


def sample_draws() -> dict[str, Any]:
    """Words for samples (epoch, position, turn), in hexadecimal."""
    samples = np.array([(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (9, 196_433, -3)])
    cases = []
    for seed, purpose in ((0, ""), (7, "flip"), (-1, "flip"), (2**70, "裁剪")):
        words = draws(seed, purpose, *samples.T).tolist()
        cases.append(
            {"seed": seed, "purpose": purpose, "samples": samples.tolist()}
            | {"draws": [f"{word:016x}" for word in words]}
        )
    return {"order_version": ORDER_VERSION, "draws": cases}


def written() -> dict[str, str]:
    """File name -> text, one case a line."""
    return {
        "class_plans.json": _lines(class_plans()),
        "draws.json": _lines(sample_draws()),
        "hashes.json": _lines(hashes()),
        "orders.json": _lines(orders()),
        "plans.json": _lines(plans()),
    }


def _lines(data: dict[str, Any]) -> str:
    fields = []
    for name, value in data.items():
        if isinstance(value, list):
            cases = ",\n  ".join(json.dumps(case) for case in value)
            fields.append(f'"{name}": [\n  {cases}\n ]')
        else:
            fields.append(f'"{name}": {json.dumps(value)}')
    return "{\n " + ",\n ".join(fields) + "\n}\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in written().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
