"""The search for near-duplicates in the memory of one process, for as many documents as fit there easily.

The same answer as near_duplicates_job.py gives, without a dozen Spark jobs that each cost more than this whole search.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from corpus.near_duplicates import keys_of_languages

FOUND_TABLE = pa.schema([("lang", pa.string()), ("doc_id", pa.string()), ("kept", pa.string())])
_PLACE = ("source", "offset", "doc_id")


def find_here(documents: pa.Table) -> pa.Table:
    """Columns lang, doc_id and kept (the doc_id that stays) of every document that goes, sorted by lang and doc_id.

    `documents` has columns lang, doc_id, source, offset and keys (`packed_keys`), rows of one doc_id in any number.
    """
    documents = documents.filter(pc.is_valid(documents.column("keys")))
    order = pc.sort_indices(documents, [(name, "ascending") for name in ("lang", "doc_id", "source", "offset")])
    names = documents.select(["lang", "doc_id"]).take(order).combine_chunks()
    first = np.ones(len(names), bool)
    if len(names) > 1:
        pairs = (
            (names.column(name).slice(1), names.column(name).slice(0, len(names) - 1)) for name in names.column_names
        )
        first[1:] = np.logical_or(*(pc.not_equal(left, right).to_numpy() for left, right in pairs))
    documents = documents.take(order.filter(pa.array(first))).combine_chunks()
    if not len(documents):
        return FOUND_TABLE.empty_table()
    keys_NB = keys_of_languages(documents.column("keys").to_pylist(), documents.column("lang").to_pylist())
    groups = _groups(*_links(keys_NB), len(documents))
    place = pc.sort_indices(documents, [(name, "ascending") for name in _PLACE]).to_numpy()
    rank = np.empty(len(place), np.int64)
    rank[place] = np.arange(len(place))
    smallest = np.full(groups.max() + 1, len(place))
    np.minimum.at(smallest, groups, rank)
    kept = place[smallest[groups]]
    goes = kept != np.arange(len(kept))
    ids = documents.column("doc_id")
    columns = [
        documents.column("lang").filter(pa.array(goes)),
        ids.filter(pa.array(goes)),
        ids.take(pa.array(kept[goes])),
    ]
    return pa.table(columns, FOUND_TABLE)


def _links(keys_NB: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each key, and each other row with that key."""
    keys = keys_NB.ravel()
    order = np.argsort(keys, kind="stable")  # so that of equal keys the first row comes first
    new = np.concatenate([[True], np.diff(keys[order]) != 0])
    rows = order // keys_NB.shape[1]
    starts = np.flatnonzero(new)
    firsts = rows[np.repeat(starts, np.diff(starts, append=len(rows)))]
    return firsts[~new], rows[~new]


def _groups(left: NDArray[np.int64], right: NDArray[np.int64], nodes: int) -> NDArray[np.int32]:
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(nodes, nodes))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels
