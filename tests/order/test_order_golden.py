"""The orders of today are the orders for ever: golden files, and what they say in plain Python.

`write_golden.py` wrote the files with the library. Here the library has to agree with them,
and so has a second implementation on Python's own integers, which knows no numpy.
"""

from __future__ import annotations

import hashlib
import json
import runpy
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infeed.order import (
    ORDER_VERSION,
    ClassMembers,
    Sampler,
    draws,
    hash64,
    key,
    permute,
    uniform_below,
)

HERE = Path(__file__).parent
MASK = 2**64 - 1


def golden(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HERE / "golden" / name).read_text(encoding="utf-8"))
    return data


HASHES, ORDERS, PLANS = golden("hashes.json"), golden("orders.json"), golden("plans.json")
CLASS_PLANS, DRAWS = golden("class_plans.json"), golden("draws.json")


def plain_mix(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def plain_key(words: list[int | str]) -> int:
    stream: list[int] = []
    for word in words:
        if isinstance(word, str):
            kind, data = 3, word.encode()
        else:
            kind = 2 if word < 0 else 1
            data = abs(word).to_bytes((abs(word).bit_length() + 7) // 8, "little")
        padded = data + bytes(-len(data) % 8)
        stream.append((kind << 56) + len(data))
        stream += [int.from_bytes(padded[i : i + 8], "little") for i in range(0, len(padded), 8)]
    state = 0
    for word in [*stream, (4 << 56) + len(words)]:
        state = plain_mix((state + 0x9E3779B97F4A7C15 & MASK) ^ word)
    return state


def plain_hash(hash_key: int, word: int) -> int:
    return plain_mix(plain_mix(word + 0x9E3779B97F4A7C15 & MASK) ^ hash_key)


def plain_permute(index: int, n: int, permutation_key: int) -> int:
    if n <= 1024:
        return sorted(range(n), key=lambda i: plain_hash(permutation_key, i))[index]
    return plain_feistel(index, n, permutation_key)


def plain_feistel(index: int, n: int, permutation_key: int) -> int:
    a = isqrt(n - 1) + 1
    b = -(-n // a)
    round_keys = [plain_hash(permutation_key, number) for number in range(8)]
    value = index
    while True:
        left, right = divmod(value, b)
        for number, round_key in enumerate(round_keys):
            source = left if number % 2 else right
            mask = plain_mix((source * 0x9E3779B97F4A7C15 + round_key) & MASK) >> 1
            if number % 2:
                right = (right + mask) % b
            else:
                left = (left + mask) % a
        value = left * b + right
        if value < n:
            return value


def plain_draw(seed: int, quotas: list[int], labels: list[int], epoch: int, slot: int) -> tuple:
    """Position and turn of sample `slot` of an epoch with quotas."""
    shuffled = plain_permute(slot, len(labels), plain_key([seed, "slots", epoch]))
    label = 0
    while shuffled >= quotas[label]:
        shuffled -= quotas[label]
        label += 1
    members = [position for position, other in enumerate(labels) if other == label]
    number, entry = divmod(epoch * quotas[label] + shuffled, len(members))
    own_key = plain_hash(plain_hash(plain_key([seed, "members"]), label), number)
    if len(members) <= 64:
        place = sorted(range(len(members)), key=lambda i: plain_hash(own_key, i))[entry]
    else:
        place = plain_feistel(entry, len(members), own_key)
    return members[place], number


def sha256(positions: list[int]) -> str:
    return hashlib.sha256(b"".join(p.to_bytes(8, "little") for p in positions)).hexdigest()


@pytest.mark.parametrize("case", HASHES["key"], ids=lambda case: str(case["words"])[:30])
def test_keys_have_not_changed(case: dict[str, Any]) -> None:
    assert key(*case["words"]) == plain_key(case["words"]) == int(case["key"], 16)


@pytest.mark.parametrize("case", HASHES["hash64"], ids=lambda case: case["key"])
def test_hashes_have_not_changed(case: dict[str, Any]) -> None:
    hash_key = int(case["key"], 16)
    words = [int(word, 16) for word in case["words"]]
    hashes = [int(word, 16) for word in case["hashes"]]
    assert hash64(hash_key, np.array(words, dtype=np.uint64)).tolist() == hashes
    assert [plain_hash(hash_key, word) for word in words] == hashes


@pytest.mark.parametrize("case", HASHES["uniform_below"], ids=lambda case: case["n"])
def test_draws_have_not_changed(case: dict[str, Any]) -> None:
    n, draw_key = int(case["n"], 16), int(case["key"], 16)
    drawn = [int(word, 16) for word in case["drawn"]]
    assert uniform_below(n, draw_key, np.arange(len(drawn))).tolist() == drawn
    assert [plain_hash(draw_key, i) * n >> 64 for i in range(len(drawn))] == drawn


@pytest.mark.parametrize("case", ORDERS["orders"], ids=lambda case: str(case["n"]))
def test_orders_have_not_changed(case: dict[str, Any]) -> None:
    n, order_key = case["n"], key(case["seed"], "shuffle", case["epoch"])
    first = permute(np.arange(len(case["first"])), n, order_key)
    rest = permute(np.arange(case["start"], case["stop"]), n, order_key)
    assert first.tolist() == case["first"]
    assert sha256(rest.tolist()) == case["sha256"]
    for i in (0, len(first) // 2, len(first) - 1):
        assert plain_permute(i, n, order_key) == case["first"][i]
    for i in (0, len(rest) // 2, len(rest) - 1):
        assert plain_permute(case["start"] + i, n, order_key) == rest[i]


@pytest.mark.parametrize("number", range(len(PLANS["plans"])))
def test_plans_have_not_changed(number: int) -> None:
    case = PLANS["plans"][number]
    sampler, n, epoch = Sampler.from_json(case["sampler"]), case["n"], case["epoch"]
    plans = [sampler.plan(n, epoch, k) for k in range(sampler.steps(n, epoch))]
    assert [plan.positions.tolist() for plan in plans] == case["positions"]
    assert [plan.weights.tolist() for plan in plans] == case["weights"]


@pytest.mark.parametrize("number", range(len(CLASS_PLANS["plans"])))
def test_plans_by_class_have_not_changed(number: int) -> None:
    case, labels = CLASS_PLANS["plans"][number], [int(c) for c in CLASS_PLANS["labels"]]
    members = ClassMembers(labels, 6)
    sampler, n, epoch = Sampler.from_json(case["sampler"]), len(labels), case["epoch"]
    assert members.quotas(sampler.stored_sampling)[0].tolist() == case["quotas"]
    plans = [sampler.plan(n, epoch, k, members=members) for k in case["numbers"]]
    assert [plan.positions.tolist() for plan in plans] == case["positions"]
    assert [plan.turns.tolist() for plan in plans] == case["turns"]
    for plan in plans:
        begin = sampler.cursor(n, epoch, plan.number)
        for row in range(plan.rows):
            sample = begin.sample + row * 2 + 1
            later = sample // n if sampler.remainder == "carry" else 0
            position, turn = plain_draw(7, case["quotas"], labels, begin.epoch + later, sample % n)
            assert position == plan.positions[row]
            assert turn == plan.turns[row] or (plan.weights[row] == 0 and plan.turns[row] < 0)


@pytest.mark.parametrize("case", DRAWS["draws"], ids=lambda case: str(case["seed"]))
def test_the_words_of_samples_have_not_changed(case: dict[str, Any]) -> None:
    words = [int(word, 16) for word in case["draws"]]
    samples = np.array(case["samples"])
    assert draws(case["seed"], case["purpose"], *samples.T).tolist() == words
    for sample, word in zip(case["samples"], words, strict=True):
        plain = plain_key([case["seed"], case["purpose"]])
        for part in sample:
            plain = plain_hash(plain, part & MASK)
        assert plain == word


def test_the_order_version_has_not_changed() -> None:
    for file in (ORDERS, PLANS, CLASS_PLANS, DRAWS):
        assert file["order_version"] == ORDER_VERSION


def test_the_script_writes_the_golden_files() -> None:
    written = runpy.run_path(str(HERE / "write_golden.py"))["written"]()
    assert written == {
        path.name: path.read_text(encoding="utf-8") for path in (HERE / "golden").iterdir()
    }
