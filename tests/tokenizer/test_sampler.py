import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tokenizer.sampler import MODULUS, MULTIPLIER, Draw, Sampler, floor_sum, permute

LENGTHS = {"en": 10_000, "sw": 350, "zh": 4_096, "yo": 90}
SHARES = {"en": 0.55, "sw": 0.05, "zh": 0.3, "yo": 0.1}

worlds = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.tuples(st.integers(1, 5_000), st.floats(0.001, 1)),
    min_size=1,
    max_size=8,
)


def sampler_of(world: dict[str, tuple[int, float]], seed: int = 0) -> Sampler:
    lengths = {lang: length for lang, (length, _) in world.items()}
    return Sampler(lengths, {lang: share for lang, (_, share) in world.items()}, 100, seed)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 200), st.integers(0, 200))
def test_floor_sum_is_the_sum_it_says(n: int, m: int, a: int, b: int) -> None:
    assert floor_sum(n, m, a, b) == sum((a * i + b) // m for i in range(n))


def placed(indices: np.ndarray, size: int, key: int) -> list[int]:
    count = len(indices)
    return permute(indices, np.full(count, size), np.full(count, key % MODULUS, np.uint64)).tolist()


@given(st.integers(1, 300), st.integers(0, MODULUS - 1))
def test_permute_is_a_permutation(size: int, key: int) -> None:
    assert sorted(placed(np.arange(size), size, key)) == list(range(size))


def test_permutations_of_two_keys_differ_and_hit_every_place_evenly() -> None:
    assert placed(np.arange(50), 50, 1) != placed(np.arange(50), 50, 2)
    keys = np.arange(3_200, dtype=np.uint64) * np.uint64(MULTIPLIER)
    places = Counter(permute(np.full(3_200, 3), np.full(3_200, 16), keys).tolist())
    assert all(120 < places[place] < 290 for place in range(16))  # 200 expected, standard deviation 14


@settings(deadline=None)
@given(worlds, st.integers(0, 2**40), st.integers(0, 5))
def test_any_draw_is_what_a_walk_comes_to(world: dict[str, tuple[int, float]], first: int, seed: int) -> None:
    sampler = sampler_of(world, seed)
    walked = sampler.draw_many(first, 60)
    again = sampler_of(world, seed)
    assert [again.draw(first + step) for step in (59, 0, 31)] == [walked[59], walked[0], walked[31]]


@settings(deadline=None)
@given(worlds, st.integers(0, 400))
def test_counts_are_those_of_a_walk(world: dict[str, tuple[int, float]], k: int) -> None:
    sampler = sampler_of(world)
    walked = Counter(draw.lang for draw in sampler.draw_many(0, k))
    assert sampler.language_counts(k) == {lang: walked[lang] for lang in sampler.languages}


@settings(deadline=None)
@given(worlds, st.integers(1, 10**12))
def test_every_language_has_its_share_at_every_point(world: dict[str, tuple[int, float]], k: int) -> None:
    sampler = sampler_of(world)
    counts = sampler.language_counts(k)
    assert sum(counts.values()) == k
    for lang, count in counts.items():
        assert abs(count - k * Fraction(sampler.shares[lang])) <= 3 + math.log2(k)


def test_the_multiplier_has_only_small_partial_quotients() -> None:
    above, below, quotients = MULTIPLIER, MODULUS, []
    while below:
        quotients.append(above // below)
        above, below = below, above % below
    assert max(quotients) <= 5


@settings(deadline=None)
@given(worlds, st.integers(0, 5), st.integers(1, 120))
def test_every_token_of_a_language_comes_once_before_any_comes_twice(
    world: dict[str, tuple[int, float]], seed: int, size: int
) -> None:
    lengths = {lang: length for lang, (length, _) in world.items()}
    sampler = Sampler(lengths, {lang: share for lang, (_, share) in world.items()}, size, seed)
    seen = {lang: np.zeros(length, np.int64) for lang, length in lengths.items()}
    for draw in sampler.draw_many(0, 400):
        counts = seen[draw.lang]
        assert draw.stop - draw.start == min(size, len(counts))
        counts[np.arange(draw.start, draw.stop) % len(counts)] += 1
        assert counts.max() - counts.min() <= 1


@settings(deadline=None)
@given(worlds, st.integers(0, 500))
def test_epochs_count_the_tokens_that_were_drawn(world: dict[str, tuple[int, float]], k: int) -> None:
    sampler, drawn = sampler_of(world), Counter[str]()
    for draw in sampler.draw_many(0, k):
        drawn[draw.lang] += draw.stop - draw.start
    lengths = {lang: length for lang, (length, _) in world.items()}
    epochs = sampler.epochs(k)
    assert epochs == pytest.approx({lang: drawn[lang] / lengths[lang] for lang in sampler.languages})


@settings(deadline=None)
@given(worlds, st.lists(st.sampled_from([1, 2, 3, 4, 6, 12]), min_size=1, max_size=5), st.integers(0, 10**9))
def test_ranks_workers_and_restarts_do_not_change_the_sequence(
    world: dict[str, tuple[int, float]], layouts: list[int], first: int
) -> None:
    """Twelve samples a step; after each step the job starts anew with other ranks, each with a sampler of its own."""
    wanted = sampler_of(world).draw_many(first, 12 * len(layouts))
    got: list[Draw] = []
    for step, ranks in enumerate(layouts):
        share = 12 // ranks
        of_rank = [
            sampler_of(world).draw_many(first + 12 * step + rank * share, share) for rank in reversed(range(ranks))
        ]
        got += itertools.chain.from_iterable(reversed(of_rank))
    assert got == wanted


def test_epochs_differ_in_order_and_in_where_they_cut() -> None:
    sampler = Sampler({"en": 10_050}, {"en": 1.0}, 100, seed=0)
    first, second = sampler.draw_many(0, 101), sampler.draw_many(101, 100)
    assert {draw.epoch for draw in first} == {0}
    assert {draw.epoch for draw in second} == {1}
    assert {draw.start % 100 for draw in first} == {0}
    assert {draw.start % 100 for draw in second} == {50}
    assert first[-1] == Draw("en", 0, 10_000, 10_100)  # the one that reaches into the next epoch
    assert [draw.start for draw in first] != sorted(draw.start for draw in first)
    assert [draw.start // 100 for draw in first[:100]] != [draw.start // 100 for draw in second]


def test_a_stream_shorter_than_a_window_is_one_window_from_its_beginning() -> None:
    sampler = Sampler({"yo": 90}, {"yo": 1.0}, 100, seed=0)
    assert sampler.draw_many(0, 3) == [Draw("yo", epoch, 0, 90) for epoch in range(3)]


def test_a_sample_far_into_the_run_is_immediate_and_the_seed_matters() -> None:
    sampler = Sampler(LENGTHS, SHARES, 100, seed=1)
    assert sampler.draw(10**9) == Sampler(LENGTHS, SHARES, 100, seed=1).draw(10**9)
    assert sampler.draw_many(10**9, 50) != Sampler(LENGTHS, SHARES, 100, seed=2).draw_many(10**9, 50)


def test_the_order_in_which_languages_are_named_does_not_matter() -> None:
    turned = Sampler(dict(reversed(LENGTHS.items())), dict(reversed(SHARES.items())), 100, seed=1)
    assert turned.draw_many(5, 100) == Sampler(LENGTHS, SHARES, 100, seed=1).draw_many(5, 100)


def test_a_language_without_a_stream_is_dropped_and_the_others_grow_in_proportion() -> None:
    sampler = Sampler({"en": 1_000, "sw": 500, "km": 70, "lo": 0}, {"en": 0.6, "sw": 0.2, "my": 0.1, "lo": 0.1}, 100, 0)
    assert sampler.dropped == ["lo", "my"]
    assert sampler.shares == pytest.approx({"en": 0.75, "sw": 0.25})
    assert {draw.lang for draw in sampler.draw_many(0, 200)} == {"en", "sw"}


def test_shares_that_are_next_to_nothing_do_no_harm() -> None:
    sampler = Sampler({"aa": 500, "zz": 500, "zzz": 500}, {"aa": 1.0, "zz": 1e-30, "zzz": 1e-30}, 100, 0)
    assert {draw.lang for draw in sampler.draw_many(0, 200)} == {"aa"}


def test_a_plan_and_shards_without_a_common_language_are_an_error() -> None:
    with pytest.raises(MGLMError, match=r"plan: sw; shards: en"):
        Sampler({"en": 1_000}, {"sw": 1.0}, 100, seed=0)
