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

from infeed.order import ORDER_VERSION, Sampler, hash64, key, permute, uniform_below

HERE = Path(__file__).parent
MASK = 2**64 - 1


def golden(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((HERE / "golden" / name).read_text(encoding="utf-8"))
    return data


HASHES, ORDERS, PLANS = golden("hashes.json"), golden("orders.json"), golden("plans.json")


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


def test_the_order_version_has_not_changed() -> None:
    assert ORDERS["order_version"] == PLANS["order_version"] == ORDER_VERSION


def test_the_script_writes_the_golden_files() -> None:
    written = runpy.run_path(str(HERE / "write_golden.py"))["written"]()
    assert written == {
        path.name: path.read_text(encoding="utf-8") for path in (HERE / "golden").iterdir()
    }
