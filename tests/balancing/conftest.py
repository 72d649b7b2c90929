"""One Spark session for the folder; a small table, and documents whose bytes by language are known."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE
from core.spark import SparkConfig, spark_session
from core.stage import open_stage

SPARK = SparkConfig(master="local[2]", driver_memory="1g", shuffle_partitions=3, partitions_per_core=1)

# Documents of 100 bytes each; every tenth is held out.
DOCUMENTS_OF_LANGUAGE = {"en": 2_000, "de": 600, "sw": 50, "yo": 2, "und": 30}
DOCUMENT_BYTES = 100


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkConfig]:
    """Keeps one session open for all tests of this folder; the job finds it there."""
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # twice as fast when short
    with spark_session("tests", SPARK):
        yield SPARK


def document(lang: str, number: int) -> dict[str, Any]:
    text = f"{lang} {number}".ljust(DOCUMENT_BYTES, ".")
    return {
        "doc_id": document_id(text),
        "text": text,
        "url": None,
        "script": "Latn",
        "lid_label": lang,
        "lid_score": 1.0,
        "n_chars": len(text),
        "n_bytes": len(text),
        "source": "test",
        "offset": number,
        "split": "heldout" if number % 10 == 9 else "train",
    }


@pytest.fixture(scope="session")
def documents_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus") / "documents"
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    counts = {}
    for lang, number in DOCUMENTS_OF_LANGUAGE.items():
        rows = [document(lang, index) for index in range(number)]
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENTS_TABLE), folder / "part-00000.parquet")
        counts[lang] = {
            "documents": number,
            "heldout_documents": sum(row["split"] == "heldout" for row in rows),
            "characters": number * DOCUMENT_BYTES,
            "bytes": number * DOCUMENT_BYTES,
        }
    stage.finish(counts=counts)
    return directory
