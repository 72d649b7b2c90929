from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eval.ngrams import Wanted, hashes_of, length_of, read_hashes, union, write_union

LENGTH = 3
sentences = st.lists(st.sampled_from(["river", "Bridge", "water", "नदी", "水", "7"]), max_size=12).map(" ".join)


def stretches(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[start : start + LENGTH]) for start in range(len(words) - LENGTH + 1)}


@given(sentences, sentences)
def test_two_texts_share_hashes_exactly_where_they_share_stretches(one: str, other: str) -> None:
    shared = np.intersect1d(hashes_of(one, LENGTH), hashes_of(other, LENGTH))
    assert len(shared) == len(stretches(one) & stretches(other))


def test_case_width_punctuation_and_spaces_do_not_count() -> None:
    plain = hashes_of("the river rose by two metres in spring", 4)
    assert np.array_equal(plain, hashes_of("“The RIVER rose,\n by ｔｗｏ metres: in  spring.”", 4))
    assert not np.array_equal(plain, hashes_of("the river rose by six metres in spring", 4))


def test_the_order_of_words_counts() -> None:
    assert not np.array_equal(hashes_of("one two three", 3), hashes_of("three two one", 3))


def test_a_text_shorter_than_a_stretch_has_none() -> None:
    assert len(hashes_of("one two", 3)) == 0
    assert len(hashes_of("", 3)) == 0
    assert len(hashes_of("one two three", 3)) == 1


def test_where_words_are_not_spaced_characters_are_the_units() -> None:
    assert length_of("zh", 13, 26) == length_of("th", 13, 26) == 26
    assert length_of("hi", 13, 26) == length_of("en", 13, 26) == 13
    assert len(hashes_of("河水在春天上涨。", 5)) == 3


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 40)))
def test_looking_up_finds_what_is_in_both(given_: list[int], asked: list[int], common: list[int]) -> None:
    wanted = union([np.array(given_ + common, np.uint64)])
    hashes = np.array([*asked, *common, *common], np.uint64)
    assert Wanted(wanted).among(hashes).tolist() == sorted({*given_, *common} & {*asked, *common})


def test_the_union_of_a_file_is_that_of_all_of_it(tmp_path: Path) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 3_000, np.uint64)
    ends = np.array([0, 2**64 - 1], np.uint64)
    for given_ in (hashes, np.concatenate([hashes, hashes[::-1], ends]), hashes[:0]):
        given_.tofile(tmp_path / "given")
        write_union(tmp_path / "given", tmp_path / "union")
        assert np.array_equal(read_hashes(tmp_path / "union"), np.unique(given_))


def test_hardly_any_other_is_likely_however_many_are_wanted() -> None:
    random = np.random.default_rng(0)
    wanted = Wanted(np.unique(random.integers(0, 2**64, 2_000_000, np.uint64)))
    assert wanted.likely(random.integers(0, 2**64, 10_000, np.uint64)).mean() < 0.05


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 40)))
def test_places_are_those_of_what_is_wanted(given_: list[int], asked: list[int], common: list[int]) -> None:
    wanted = Wanted(union([np.array(given_ + common, np.uint64)]))
    hashes = np.array([*asked, *common, *asked, *common], np.uint64)
    expected = [place for place, value in enumerate(hashes.tolist()) if value in {*given_, *common}]
    assert wanted.places_in(hashes).tolist() == expected
