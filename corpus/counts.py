"""counts.json and counts.parquet: how much there is of each language, for other programs.

The manifest says the same and is what counts: these two are written after it and are none of its files.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.languages import language_name
from core.manifest import write_atomically

JSON_NAME, PARQUET_NAME = "counts.json", "counts.parquet"
COUNTS_TABLE = pa.schema(
    [
        pa.field("language", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("heldout_documents", pa.int64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),  # Unicode code points
        pa.field("bytes", pa.int64(), nullable=False),  # UTF-8
    ]
)


def write_counts(directory: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Writes both files, most documents first."""
    ordered = sorted(counts, key=lambda code: (-counts[code]["documents"], code))
    rows = [{"language": code, "name": language_name(code), **counts[code]} for code in ordered]
    write_atomically(directory / JSON_NAME, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    temporary = directory / f".{PARQUET_NAME}.tmp"
    pq.write_table(pa.Table.from_pylist(rows, COUNTS_TABLE), temporary)
    temporary.replace(directory / PARQUET_NAME)
