"""Tokenizer, shards, documents and plan of texts in memory, by the real writers and without Spark.

For benchmarks, drills and tests alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.documents import document_id
from core.manifest import FileEntry, describe_files
from core.plan import Plan, PlanLanguage
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, SAMPLE, SAMPLE_TABLE, SHARDS
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import Part, write_part
from tokenizer.train import train_tokenizer

Texts = Mapping[str, Sequence[str]]  # language → its documents


def make_tokenizer(work: Path, texts: Texts, vocab_size: int, threads: int = 1) -> Tokenizer:
    """`work/tokenizer`, trained on these texts by way of `work/sample`."""
    sample = open_stage(work / "sample", schema=SAMPLE, config={}, inputs={})
    rows = [
        {"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text} for lang in texts for text in texts[lang]
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), work / "sample" / "part.parquet")
    sample.finish()
    train_tokenizer(work / "sample", work / "tokenizer", TokenizerConfig(vocab_size=vocab_size, num_threads=threads))
    return Tokenizer.load(work / "tokenizer")


def write_shards(directory: Path, texts: Texts, tokenizer: Tokenizer) -> None:
    """shards/1 of these documents, one file for each language."""
    stage = open_stage(directory, schema=SHARDS, config={}, inputs={})
    tokenizer.save(directory / "tokenizer")
    rows = []
    for number, (lang, of_language) in enumerate(sorted(texts.items())):
        documents = sorted((document_id(text), text) for text in of_language)
        columns = [pa.array([doc_id for doc_id, _ in documents]), pa.array([text for _, text in documents])]
        batch = pa.RecordBatch.from_arrays(columns, names=["doc_id", "text"])
        rows.append(write_part([batch], tokenizer, Part(number, lang, 0), directory, stage.work))
    files = [FileEntry(path=row.path, rows=row.rows, bytes=row.bytes, sha256=row.sha256) for row in rows]
    inside = describe_files(directory / "tokenizer", {})
    stage.finish(
        files=files + [entry.model_copy(update={"path": f"tokenizer/{entry.path}"}) for entry in inside],
        counts={row.lang: {"documents": row.rows, "tokens": row.tokens, "bytes": row.n_bytes} for row in rows},
        facts={"tokenizer_sha256": tokenizer.sha256, "tokens_of_file": {row.path: row.tokens for row in rows}},
    )


def write_documents(directory: Path, splits: Mapping[str, Texts]) -> None:
    """documents/1 of split → language → texts, of which the splits are `train` and `heldout`."""
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    counts = {}
    for lang in sorted({lang for texts in splits.values() for lang in texts}):
        rows = [
            {
                "doc_id": document_id(text), "text": text, "url": None, "script": "Zyyy", "lid_label": lang,
                "lid_score": 1.0, "n_chars": len(text), "n_bytes": len(text.encode()), "source": "made up",
                "offset": 0, "split": split,
            }
            for split, texts in splits.items() for text in texts.get(lang, ())
        ]  # fmt: skip
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), folder / "part-00000.parquet")
        heldout = splits.get("heldout", {}).get(lang, ())
        counts[lang] = {"documents": len(rows), "heldout_documents": len(heldout)}
    stage.finish(counts=counts)


def write_plan(path: Path, shares: Mapping[str, float]) -> Path:
    """plan/1 with these shares; returns its path."""
    languages = [
        PlanLanguage(code=code, count=1, rank=rank, fitted_count=1, raw_share=share, stage1_share=share, share=share)
        for rank, (code, share) in enumerate(shares.items(), start=1)
    ]
    plan = Plan(strategy="table", alpha=None, curve=None, count_unit="documents", languages=languages)
    path.write_text(plan.to_json(), "utf-8")
    return path
