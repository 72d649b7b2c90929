"""The tables that cross stages, with their names and versions. A reader checks, a writer casts."""

import pyarrow as pa

from core.errors import MGLMError

DOCUMENTS = "documents/1"
SHARDS = "shards/1"
SAMPLE = "sample/1"

# documents/1, Parquet under `documents/lang=xx/`; `lang` is the partition and not stored in the file.
DOCUMENTS_TABLE = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),  # 32 hex digits, core.documents.document_id
        pa.field("text", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("script", pa.string(), nullable=False),  # ISO 15924 of most of its letters
        pa.field("lid_label", pa.string(), nullable=False),  # as the detector said it
        pa.field("lid_score", pa.float32(), nullable=False),
        pa.field("n_chars", pa.int64(), nullable=False),  # Unicode code points
        pa.field("n_bytes", pa.int64(), nullable=False),  # UTF-8
        pa.field("source", pa.string(), nullable=False),  # input file
        pa.field("offset", pa.int64(), nullable=False),  # byte offset of the record in the (uncompressed) file
        pa.field("split", pa.string(), nullable=False),  # train | heldout
        pa.field("quality", pa.float32()),  # the score of corpus.rules.quality_model, null without one
    ]
)

# rejected/, Parquet: nothing vanishes.
REJECTED_TABLE = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),  # the record's beginning, invalid UTF-8 replaced
    ]
)

# sample/1, Parquet: `copies` rows of a document, its text and language.
SAMPLE_TABLE = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)

# shards/1, uncompressed Arrow IPC files `lang=xx/part-NNNNN.arrow`, one row per document.
SHARDS_TABLE = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("tokens", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
    ],
    metadata={"schema": SHARDS},
)


def check_table(found: pa.Schema, wanted: pa.Schema, where: str, command: str) -> None:
    """Raises MGLMError when a file's columns are not those of its contract, naming the first that differs.

    A column that may be null may be missing.
    """
    for field in wanted:
        index = found.get_field_index(field.name)
        if index < 0 and field.nullable:
            continue
        if index < 0:
            expected = f"a column {field.name} ({field.type})"
            raise MGLMError(
                where, found=f"columns {', '.join(found.names)}", expected=expected, action=f"run {command}"
            )
        if found.field(index).type != field.type:
            raise MGLMError(
                f"{where}, column {field.name}",
                found=str(found.field(index).type),
                expected=str(field.type),
                action=f"run {command}",
            )
