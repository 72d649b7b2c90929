"""Held-out documents of documents/1: a fixed few of each language, the same whatever machine wrote the files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import MGLMError
from core.languages import UNKNOWN
from core.manifest import MADE_BY, Manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, check_table

_COLUMNS = ["doc_id", "text", "split"]


def heldout_languages(manifest: Manifest) -> list[str]:
    """Codes of the languages of documents/1 that have held-out documents, without the undetermined."""
    return sorted(
        lang for lang, counts in manifest.counts.items() if lang != UNKNOWN and counts["heldout_documents"] > 0
    )


def heldout_texts(documents: Path, language: str, limit: int) -> list[str]:
    """At most `limit` held-out texts of a language: those with the smallest doc_id, which is a hash.

    Raises:
        MGLMError: a file is not of the documents/1 schema.
    """
    kept = pa.table({"doc_id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    for path in sorted((documents / "documents" / f"lang={language}").glob("*.parquet")):
        try:
            file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            action = f"run {MADE_BY[DOCUMENTS]} again"
            raise MGLMError(f"{path}", found=str(error), expected="Parquet", action=action) from None
        with file:
            check_table(file.schema_arrow, DOCUMENTS_TABLE, str(path), MADE_BY[DOCUMENTS])
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=_COLUMNS)
                chosen = table.filter(pc.equal(table["split"], "heldout")).select(["doc_id", "text"])
                both = pa.concat_tables([kept, chosen.cast(kept.schema)])
                kept = both.take(pc.sort_indices(both["doc_id"])[:limit])
    texts: list[str] = kept["text"].to_pylist()
    return texts
