"""The rounds of a budget, played through with parts whose sizes are known beforehand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.shard_budget import kept_parts, needed_tokens, next_parts
from tokenizer.shard_writer import Part, PartRow

# Tokens of each document (with its [CLS] and eos) in the order of the hash, part by part.
languages = st.lists(st.lists(st.integers(2, 50), max_size=6), min_size=1, max_size=12)


def written(part: Part, documents: list[int], limit: int | None) -> PartRow:
    """What the writer says of a part."""
    rows, reached = 0, False
    while rows < len(documents) and not reached:
        rows += 1
        reached = limit is not None and sum(documents[:rows]) >= limit
    stream = sum(documents[:rows])
    return PartRow(part.number, part.path, "en", rows, stream - 2 * rows, 0, 1, "", limit, not reached)


def play(parts: list[list[int]], needed: int | None) -> tuple[list[PartRow], int]:
    """The rows in the end, and how many documents were written on the way."""
    of_language = [Part(number, "en", number, len(parts)) for number in range(len(parts))]
    rows: dict[int, PartRow] = {}
    effort = 0
    for _ in range(3 * len(parts) + 3):
        wanted = next_parts(of_language, rows, needed)
        if not wanted:
            return kept_parts(of_language, rows, needed), effort
        for part, limit in wanted:
            rows[part.number] = written(part, parts[part.index], limit)
            effort += rows[part.number].rows
    raise AssertionError("no end")


@given(languages, st.integers(1, 4_000))
def test_the_stream_is_the_shortest_beginning_that_suffices(parts: list[list[int]], needed: int) -> None:
    rows, _ = play(parts, needed)
    documents = [size for part in parts for size in part]
    count = next((n for n in range(len(documents) + 1) if sum(documents[:n]) >= needed), len(documents))
    assert sum(row.rows for row in rows) == count
    assert sum(row.stream for row in rows) == sum(documents[:count])


@given(languages, st.integers(1, 2_000), st.integers(0, 2_000))
def test_a_larger_budget_begins_with_the_documents_of_a_smaller_one(
    parts: list[list[int]], needed: int, more: int
) -> None:
    smaller, larger = play(parts, needed)[0], play(parts, needed + more)[0]
    for less, row in zip(smaller[:-1], larger, strict=False):
        assert (less.path, less.rows) == (row.path, row.rows)
    assert sum(row.rows for row in larger) >= sum(row.rows for row in smaller)


@given(languages)
def test_without_a_budget_every_part_is_written_once(parts: list[list[int]]) -> None:
    rows, effort = play(parts, None)
    assert effort == sum(row.rows for row in rows) == sum(map(len, parts))


def test_even_parts_are_written_little_beyond_the_need() -> None:
    parts = [[10] * 1_000 for _ in range(100)]
    rows, effort = play(parts, 525_005)
    assert sum(row.rows for row in rows) == 52_501
    assert effort == 52_501


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)),
    st.floats(1, 1e12),
)
def test_the_need_is_the_budget_by_the_shares_of_the_languages_that_have_documents(
    shares: dict[str, float], documents: dict[str, int], budget: float
) -> None:
    needed = needed_tokens(shares, documents, budget)
    assert set(needed) == {lang for lang, share in shares.items() if share > 0 and documents.get(lang)}
    whole = math.fsum(shares[lang] for lang in needed)
    for lang, tokens in needed.items():
        assert tokens == pytest.approx(budget * shares[lang] / whole, abs=1.001, rel=1e-9)


def test_parts_that_a_killed_run_finished_are_not_written_again() -> None:
    parts = [Part(number, "en", number, 1_000) for number in range(100)]
    rows = {part.number: written(part, [10, 20], None) for part in parts[:90] if part.number != 12}
    wanted = {part.number for part, _ in next_parts(parts, rows, 30 * 99)}
    assert 12 in wanted
    assert not wanted & rows.keys()


def test_each_part_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Part(number, "en", number, 1_000) for number in range(1_000)]
    rows = {part.number: written(part, [10, 20], None) for part in parts}
    counted: list[PartRow] = []
    stream = PartRow.stream.fget
    assert stream is not None
    monkeypatch.setattr(PartRow, "stream", property(lambda row: counted.append(row) or stream(row)))
    assert len(kept_parts(parts, rows, 29_999)) == 1_000
    assert len(counted) <= 1_000
