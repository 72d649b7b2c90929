"""Lists of documents to look for: found as in a plain set, however long the list is."""

import pickle

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.deletion import Sought

ids = st.lists(st.text("0123456789abcdef", min_size=2, max_size=2), max_size=30)


@given(ids, ids, st.integers(0, 30))
def test_what_is_sought_is_found_in_any_column(sought: list[str], column: list[str], cut: int) -> None:
    wanted = pickle.loads(pickle.dumps(Sought(set(sought))))  # as a worker gets it
    expected = [doc_id in sought for doc_id in column]
    whole = pa.array(column, pa.string())
    assert wanted.among(whole).to_pylist() == expected
    chunks = pa.chunked_array([whole.slice(0, cut), whole.slice(cut)], pa.string())
    assert wanted.among(chunks).to_pylist() == expected


def test_arrow_is_given_only_what_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    given_: list[int] = []
    is_in = pc.is_in
    monkeypatch.setattr(pc, "is_in", lambda column, values: given_.append(len(values)) or is_in(column, values))
    wanted = Sought({f"{number:032x}" for number in range(10_000)})
    assert wanted.among(pa.array([f"{number:032x}" for number in (5, 7, 9)])).to_pylist() == [True] * 3
    assert given_ == [5]
