import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.documents import document_id, split_of, uniform


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_an_id_is_128_bits_in_hex_and_depends_on_the_text_alone(text: str) -> None:
    doc_id = document_id(text)
    assert len(doc_id) == 32
    assert int(doc_id, 16) >= 0
    assert document_id(text) == doc_id
    assert document_id(text + " ") != doc_id


def test_numbers_are_uniform_and_purposes_and_seeds_independent() -> None:
    ids = [document_id(str(number)) for number in range(20_000)]
    split = np.array([uniform(doc_id, "split") for doc_id in ids])
    sample = np.array([uniform(doc_id, "sample") for doc_id in ids])
    other_seed = np.array([uniform(doc_id, "sample", seed=1) for doc_id in ids])
    assert split.min() >= 0
    assert split.max() < 1
    # Kolmogorov-Smirnov distance of a true uniform sample stays below 1.63 / sqrt(n) in 99 % of draws.
    ordered = np.sort(split)
    assert np.abs(ordered - np.arange(len(ordered)) / len(ordered)).max() < 1.63 / np.sqrt(len(ordered)) + 1e-4
    assert abs(np.corrcoef(split, sample)[0, 1]) < 0.03
    assert abs(np.corrcoef(sample, other_seed)[0, 1]) < 0.03


def test_a_larger_heldout_share_only_adds_documents() -> None:
    ids = [document_id(str(number)) for number in range(5_000)]
    small = {doc_id for doc_id in ids if split_of(doc_id, 0.01) == "heldout"}
    large = {doc_id for doc_id in ids if split_of(doc_id, 0.1) == "heldout"}
    assert small < large
    assert 0.08 < len(large) / len(ids) < 0.12
