from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.order import Shard


def test_one_process_is_the_default() -> None:
    assert Shard() == Shard(0, 1) == Shard(index=0, count=1)


@given(st.integers(1, 2**31 - 1).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_a_shard_survives_json(shard: tuple[int, int]) -> None:
    assert Shard.from_json(json.loads(json.dumps(Shard(*shard).to_json()))) == Shard(*shard)


@pytest.mark.parametrize("index", [-1, 4, 5])
def test_an_index_outside_the_count_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=rf"^Shard\.index must be in \[0, 4\), got {index}$"):
        Shard(index, 4)


@pytest.mark.parametrize("count", [0, -1, 2**31])
def test_a_count_outside_its_range_is_refused(count: int) -> None:
    message = rf"^Shard\.count must be in \[1, 2147483647\], got {count}$"
    with pytest.raises(ValueError, match=message):
        Shard(0, count)


@pytest.mark.parametrize("value", [1.0, "1", None, True])
def test_what_is_no_int_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^Shard\.index must be an int, got "):
        Shard(value, 4)
    with pytest.raises(TypeError, match=r"^Shard\.count must be an int, got "):
        Shard(0, value)


def test_numpys_integers_become_pythons() -> None:
    shard = Shard(np.int64(1), np.uint8(3))
    assert shard == Shard(1, 3)
    assert json.dumps(shard.to_json()) == '{"index": 1, "count": 3}'


def test_json_with_other_keys_is_refused() -> None:
    message = r"^Shard\.from_json needs the keys \['count', 'index'\], got \['index'\]\. Was it "
    with pytest.raises(ValueError, match=message):
        Shard.from_json({"index": 0})
