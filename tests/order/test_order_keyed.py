from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from infeed.order import hash64, key, uniform_below
from infeed.order.keyed import mix_in_place

ALMOST_IMPOSSIBLE = 1e-6

words = st.one_of(st.integers(), st.text(max_size=20))
keys = st.integers(0, 2**64 - 1)


def test_the_finaliser_is_that_of_splitmix64() -> None:
    # The first outputs of Vigna's splitmix64.c from state 1234567.
    state = 1234567 + np.arange(1, 6, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mix_in_place(state, np.empty_like(state))
    assert state.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(words, max_size=4), st.lists(words, max_size=4))
def test_a_key_belongs_to_one_sequence_of_words(
    one: list[int | str], other: list[int | str]
) -> None:
    same = [(type(word), word) for word in one] == [(type(word), word) for word in other]
    assert (key(*one) == key(*other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 1), (1, 0)),
        ((0,), (0, 0)),
        ((), (0,)),
        ((), ("",)),
        ((0,), ("",)),
        ((1,), ("1",)),
        ((1,), (-1,)),
        ((2**64,), (0, 1)),
        ((2**64 + 5,), (5,)),
        ((2**64,), (2**128,)),
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a\0",)),
        (("a" * 8,), ("a" * 8, "")),
        ((7, "shuffle", 0), (7, "replacement", 0)),
    ],
)
def test_words_that_a_sum_or_a_join_would_confuse_have_different_keys(
    one: tuple[int | str, ...], other: tuple[int | str, ...]
) -> None:
    assert key(*one) != key(*other)


def test_numpys_integers_are_the_same_words_as_pythons() -> None:
    assert key(np.int64(-3), np.uint8(200), np.str_("a")) == key(-3, 200, "a")


def test_a_name_that_is_not_unicode_is_a_word() -> None:
    assert key("\udce9.jpg") != key("é.jpg")


@pytest.mark.parametrize("word", [1.0, None, b"a"])
def test_a_word_of_another_kind_is_refused(word: object) -> None:
    with pytest.raises(TypeError, match=r"^a word of a key is an int or a str, got "):
        key(3, word)


def test_keys_of_neighbouring_words_fill_the_range_evenly() -> None:
    drawn = [key(seed, "x", epoch) for epoch in range(64) for seed in range(64)]
    for shift in (0, 20, 56):
        counts = np.bincount([word >> shift & 255 for word in drawn], minlength=256)
        assert stats.chisquare(counts).pvalue > ALMOST_IMPOSSIBLE


@given(keys, st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_a_hash_depends_on_its_own_word_alone(hash_key: int, given_words: list[int]) -> None:
    together = hash64(hash_key, np.array(given_words, dtype=np.uint64))
    alone = [hash64(hash_key, np.array([word], dtype=np.uint64))[0] for word in given_words]
    assert together.dtype == np.uint64
    assert together.tolist() == alone


def test_words_are_not_modified_and_keep_their_shape() -> None:
    given_words = np.arange(6, dtype=np.uint64).reshape(2, 3)
    given_words.setflags(write=False)
    hashed = hash64(5, given_words.T)
    assert hashed.tolist() == hash64(5, given_words).T.tolist()
    assert hash64(5, given_words[0, 0]).shape == ()
    assert hash64(5, np.empty(0, dtype=np.uint64)).shape == (0,)


def test_the_byte_order_of_the_words_does_not_matter() -> None:
    given_words = np.arange(9, dtype=np.uint64)
    for order in "<>":
        assert np.array_equal(hash64(5, given_words.astype(f"{order}u8")), hash64(5, given_words))


@pytest.mark.parametrize("hash_key", [0, 1, 2**63, 0x9E3779B97F4A7C15])
def test_one_changed_bit_of_a_word_or_key_changes_half_the_bits(hash_key: int) -> None:
    given_words = np.arange(4096, dtype=np.uint64)
    plain = hash64(hash_key, given_words)
    for bit in range(64):
        flipped_word = hash64(hash_key, given_words ^ np.uint64(1 << bit))
        flipped_key = hash64(hash_key ^ (1 << bit), given_words)
        for other in (flipped_word, flipped_key):
            # 4096 * 64 fair coins: standard deviation 256, so 6 of them are 1536.
            changed = np.unpackbits((plain ^ other).view(np.uint8)).sum(dtype=np.int64)
            assert abs(changed - 4096 * 32) < 1536


def test_keys_near_to_each_other_do_not_share_hashes() -> None:
    gamma = 0x9E3779B97F4A7C15  # SplitMix64 itself gives shifted streams for such keys
    seen = [hash64(i * gamma % 2**64, np.arange(1000, dtype=np.uint64)) for i in range(50)]
    assert len(np.unique(np.concatenate(seen))) == 50_000


def test_hashing_warns_of_nothing_at_the_ends_of_the_range() -> None:
    ends = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    for hash_key in (0, 2**64 - 1):
        assert len(set(hash64(hash_key, ends).tolist())) == 4
        for n in (1, 2**32 - 1, 2**32, 2**32 + 1, 2**63):
            drawn = uniform_below(n, hash_key, ends)
            assert drawn.dtype == np.int64
            assert ((drawn >= 0) & (drawn < n)).all()
            assert 0 <= int(uniform_below(n, hash_key, np.array(3))) < n


@given(st.integers(1, 2**63), keys, st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_a_draw_is_the_high_half_of_hash_times_n(n: int, draw_key: int, index: list[int]) -> None:
    drawn = uniform_below(n, draw_key, np.array(index, dtype=np.int64))
    hashed = hash64(draw_key, np.array(index, dtype=np.uint64))
    assert drawn.tolist() == [h * n >> 64 for h in hashed.tolist()]


@pytest.mark.parametrize("n", [2, 3, 61, 1000])
def test_every_value_is_drawn_equally_often(n: int) -> None:
    drawn = uniform_below(n, key(7, "draws", n), np.arange(200 * n))
    assert stats.chisquare(np.bincount(drawn, minlength=n)).pvalue > ALMOST_IMPOSSIBLE


def test_successive_draws_are_independent() -> None:
    drawn = uniform_below(30, key(7, "pairs"), np.arange(90_000))
    pairs = np.bincount(drawn[:-1] * 30 + drawn[1:], minlength=900)
    assert stats.chisquare(pairs).pvalue > ALMOST_IMPOSSIBLE


def test_what_is_out_of_range_is_refused() -> None:
    index = np.arange(3)
    with pytest.raises(ValueError, match=r"^uniform_below needs n in \[1, 2\*\*63\], got 0$"):
        uniform_below(0, 1, index)
    with pytest.raises(ValueError, match=r"^a key must be in \[0, 2\*\*64\), got -1\. Make it "):
        uniform_below(3, -1, index)
    with pytest.raises(ValueError, match=r"^a key must be in \[0, 2\*\*64\), got 18446744073709"):
        hash64(2**64, index.astype(np.uint64))
    with pytest.raises(TypeError, match=r"^hash64 needs integers, got dtype float64$"):
        hash64(3, np.array([0.5]))
    with pytest.raises(TypeError, match=r"^uniform_below needs integers, got dtype float64$"):
        uniform_below(3, 3, np.array([0.5]))
