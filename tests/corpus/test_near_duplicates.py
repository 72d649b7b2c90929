"""Near-duplicates: the signature against exact Jaccard similarity, and the search against comparing every pair."""

import itertools
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from core.documents import document_id
from core.spark import SparkConfig, spark_session
from corpus.near_duplicates import band_keys, keys_of_languages, packed_keys, shingles, signatures
from corpus.near_duplicates_config import NearDuplicatesConfig
from corpus.near_duplicates_here import find_here

CONFIG = NearDuplicatesConfig(enabled=True)


@cache
def runs(text: str) -> frozenset[tuple[str, ...]]:
    """Runs of five words, written down once more and simply; for texts of spaced words."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return frozenset(tuple(words[i : i + 5]) for i in range(len(words) - 4))


def jaccard(left: str, right: str) -> float:
    common = len(runs(left) & runs(right))
    return common / (len(runs(left)) + len(runs(right)) - common)


def made_texts(number: int, seed: int = 0) -> list[str]:
    """Families of texts that differ in a word here and there, some hardly, some much."""
    generator = random.Random(seed)
    vocabulary = ["".join(generator.choices("aeioukstnrlm", k=generator.randint(2, 9))) for _ in range(4_000)]
    texts: list[str] = []
    while len(texts) < number:
        words = generator.choices(vocabulary, k=generator.randint(40, 400))
        for _ in range(generator.randint(1, 6)):
            rate = generator.choice([0.002, 0.005, 0.01, 0.02, 0.04, 0.1])
            changed = [generator.choice(vocabulary) if generator.random() < rate else word for word in words]
            texts.append(" ".join(changed))
    return sorted(set(texts))


def runs_hashed(text: str) -> np.ndarray:
    return shingles([text], 5)[0]


def sketches_of(texts: list[str]) -> np.ndarray:
    return signatures(*shingles(texts, 5), CONFIG)


def test_runs_of_words_are_those_that_plain_python_finds() -> None:
    text = "One, two; THREE four five six -- one two three four five six!"
    found = runs_hashed(text)
    assert len(found) == 8
    assert len(set(found.tolist())) == 6  # one…five and two…six come twice
    assert found[0] == runs_hashed("one two three four five")[0]


@given(st.lists(st.sampled_from(["aa", "ab", "ba", "b", "ß", "и", "2"]), min_size=5, max_size=30), st.data())
def test_equal_runs_and_no_others_have_equal_hashes(words: list[str], data: st.DataObject) -> None:
    others = data.draw(st.permutations(words))
    hashes = [runs_hashed(" ".join(some)).tolist() for some in (words, others)]
    runs = [[tuple(some[i : i + 5]) for i in range(len(some) - 4)] for some in (words, others)]
    known = dict(zip(itertools.chain(*runs), itertools.chain(*hashes), strict=True))
    assert len(set(known.values())) == len(known)
    assert [known[run] for run in itertools.chain(*runs)] == list(itertools.chain(*hashes))


def test_scripts_without_spaces_are_cut_by_character() -> None:
    assert len(runs_hashed("由于冬季暴风雨")) == 3
    assert len(runs_hashed("ความรักคือ")) == len("ความรักคือ") - 4
    assert np.array_equal(runs_hashed("由于，冬季 暴风雨。"), runs_hashed("由于冬季暴风雨"))


@given(st.lists(st.text(max_size=100) | st.sampled_from(["", "!", "one", "one two", "一二三四五六"]), max_size=6))
def test_texts_together_have_the_keys_that_each_has_alone(texts: list[str]) -> None:
    together = packed_keys(texts, CONFIG)
    assert together == [key for text in texts for key in packed_keys([text], CONFIG)]
    assert [key is None for key in together] == [not runs_hashed(text).size for text in texts]
    assert {len(key) for key in together if key is not None} <= {14 * 8}


def test_signatures_are_those_of_datasketch() -> None:
    texts = made_texts(20)
    for text, values in zip(texts, sketches_of(texts), strict=True):
        sketch = MinHash(CONFIG.bands * CONFIG.rows, seed=1, scheme="affine32", hashfunc=int)
        sketch.update_batch(runs_hashed(text) >> np.uint64(32))
        assert np.array_equal(values, sketch.hashvalues)


def test_a_long_text_has_the_signature_of_its_parts_together() -> None:
    words = [f"w{number}" for number in range(20_000)]
    parts = [" ".join(words[start : start + 5_004]) for start in range(0, 20_000, 5_000)]
    whole = sketches_of([" ".join(words)])[0]
    assert np.array_equal(whole, sketches_of(parts).min(axis=0))


def test_signatures_estimate_jaccard_similarity() -> None:
    texts = made_texts(120)
    sketches = sketches_of(texts)
    pairs = [(i, j, jaccard(texts[i], texts[j])) for i, j in itertools.combinations(range(len(texts)), 2)]
    left, right, exact = (np.array(column) for column in zip(*[p for p in pairs if p[2] > 0.1], strict=True))
    errors = (sketches[left] == sketches[right]).mean(axis=1) - exact
    assert abs(errors.mean()) < 0.02
    assert (errors**2).mean() ** 0.5 < 1.3 * np.sqrt((exact * (1 - exact) / sketches.shape[1]).mean())


def test_keys_meet_as_often_as_the_formula_says() -> None:
    texts = made_texts(240, seed=5)
    keys = [set(found) for found in band_keys(sketches_of(texts), CONFIG).tolist()]
    met, expected, likely = 0, 0.0, 0.0
    for i, j in itertools.combinations(range(len(texts)), 2):
        chance = 1 - (1 - jaccard(texts[i], texts[j]) ** CONFIG.rows) ** CONFIG.bands
        met += bool(keys[i] & keys[j])
        expected += chance
        likely += chance * (1 - chance)
    assert abs(met - expected) < 4 * likely**0.5


def test_keys_of_one_text_differ_from_language_to_language() -> None:
    (packed,) = packed_keys(["one two three four five six seven eight"], CONFIG)
    assert packed is not None
    english, german, again = keys_of_languages([packed] * 3, ["en", "de", "en"]).tolist()
    assert english == again
    assert len(set(english) | set(german)) == 28


def find(
    texts: dict[str, list[str]],
    folder: Path,
    spark: SparkConfig,
    slices: int,
    *,
    here: bool,
    deleted: Sequence[Path] = (),
) -> dict[tuple[str, str], str]:
    """Language and doc_id → doc_id that stays, by the job or in memory."""
    from corpus.near_duplicates_job import write_near_duplicates

    rows = [
        {
            "lang": lang,
            "doc_id": document_id(text),
            "source": "crawl",
            "offset": offset,
            "keys": packed_keys([text], CONFIG)[0],
        }
        for lang, of_language in texts.items()
        for offset, text in enumerate(of_language)
    ]
    random.Random(slices).shuffle(rows)
    (folder / "keys").mkdir(parents=True)
    for part in range(slices):
        pq.write_table(pa.Table.from_pylist(rows[part::slices]), folder / "keys" / f"{part}.parquet")
    with spark_session("test", spark) as session:
        (folder / "work").mkdir()
        count = write_near_duplicates(
            session,
            folder / "keys",
            folder / "work",
            folder / "out",
            deleted=deleted,
            here_documents=len(rows) - (not here),
        )
    found = pq.read_table(folder / "out").to_pylist()
    assert [(row["lang"], row["doc_id"]) for row in found] == sorted((row["lang"], row["doc_id"]) for row in found)
    kept = {(row["lang"], row["doc_id"]): row["kept"] for row in found}
    assert len(kept) == len(found) == count
    return kept


@pytest.mark.spark
def test_the_search_finds_the_pairs_that_comparing_all_finds_and_few_others(tmp_path: Path, spark: SparkConfig) -> None:
    texts = made_texts(240, seed=1)
    notice = [f"{made_texts(1, seed=2)[0]} number {number}" for number in range(60)]  # a bucket of many
    english = [*texts, *notice]
    given = {"en": [*english, *english[-3:]], "de": texts[:40], "fr": ["?!", "…"]}
    found = find(given, tmp_path / "here", spark, slices=3, here=True)
    assert find(given, tmp_path / "spark", spark, slices=2, here=False) == found

    offset_of = {document_id(text): offset for offset, text in enumerate(english)}
    group_of = {doc_id: kept for (lang, doc_id), kept in found.items() if lang == "en"}
    in_german = {document_id(text) for text in texts[:40]}
    assert {doc_id for lang, doc_id in found if lang == "de"} <= in_german
    assert not set(group_of.values()) & set(group_of)  # what stays does not go
    assert all(offset_of[kept] < offset_of[doc_id] for doc_id, kept in group_of.items())
    assert len({group_of.get(document_id(text), document_id(text)) for text in notice}) == 1

    together = right = near = reached = 0
    for left, other in itertools.combinations(texts, 2):
        exact = jaccard(left, other)
        names = [group_of.get(document_id(text), document_id(text)) for text in (left, other)]
        together += names[0] == names[1]
        right += names[0] == names[1] and exact >= 0.6
        near += exact >= 0.85
        reached += exact >= 0.85 and names[0] == names[1]
    assert near > 40
    assert reached / near > 0.97
    assert right / together > 0.8  # groups join what is alike through a third


@pytest.mark.spark
@pytest.mark.parametrize("here", [True, False])
def test_what_is_deleted_keeps_others_out_and_is_not_found_itself(
    here: bool, tmp_path: Path, spark: SparkConfig
) -> None:
    notices = [f"{made_texts(1, seed=2)[0]} number {number}" for number in range(4)]
    first, second, *others = map(document_id, notices)
    lists = []
    for number, doc_id in enumerate((first, second)):
        lists.append(tmp_path / f"{number}.parquet")
        pq.write_table(pa.Table.from_pylist([{"doc_id": doc_id, "lang": "en"}]), lists[-1])
    found = find({"en": notices}, tmp_path / "found", spark, slices=1, here=here, deleted=lists)
    assert found == {("en", doc_id): first for doc_id in others}


def test_many_documents_are_sorted_in_many_partitions() -> None:
    from corpus.near_duplicates_job import partitions_for

    assert [partitions_for(rows) for rows in (1, 500_001, 10**12)] == [1, 4, 20_000]


def test_nothing_is_found_among_nothing() -> None:
    table = pa.Table.from_pylist([{"lang": "fr", "doc_id": "a", "source": "s", "offset": 0, "keys": None}])
    assert len(find_here(table)) == len(find_here(table.slice(1))) == 0


@pytest.mark.spark
@pytest.mark.parametrize("driver_links", [0, 1_000])
def test_a_long_chain_becomes_one_group(driver_links: int, tmp_path: Path, spark: SparkConfig) -> None:
    from corpus.near_duplicates_job import components

    generator = random.Random(4)
    names = [f"{number:03d}" for number in range(60)]
    generator.shuffle(names)
    chain, circle, pair = names[:30], names[30:45], names[45:47]
    links = [*itertools.pairwise(chain), *itertools.pairwise([*circle, circle[0]]), tuple(pair)]
    pairs = [sorted(link) for link in links]
    (tmp_path / "links").mkdir()
    table = pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]})
    pq.write_table(table, tmp_path / "links" / "0.parquet")
    with spark_session("test", spark) as session:
        groups = components(session, tmp_path / "links", tmp_path, driver_links=driver_links)
        found = {row.node: row.group for row in groups.collect()}
    expected = {node: min(group) for group in (chain, circle, pair) for node in group}
    assert found == expected
