"""What the benchmarks of balancing and tokenizer work on: documents/1 of real text, and a tokenizer trained on it.

The text is the pool of public documents that lies beside the project in development, else the examples, said over as
often as is needed for the size wanted; each time round a document ends in another number, so that none is equal.
"""

import gzip
import itertools
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from balancing import fit_plan
from balancing.config import BalancingConfig
from balancing.sample import make_sample
from benchmarks import shards
from core.documents import document_id, split_of, uniform
from core.manifest import read_manifest
from core.plan import Plan
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE
from core.spark import SparkConfig
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.train import train_tokenizer

ROOT = Path(__file__).parents[1]
POOL = ROOT.parent / "shared" / "data" / "corpora" / "pool"
ROW_GROUP_BYTES = 4 << 20  # of text, so that a language has as many as in a corpus thirty times as large


def source() -> str:
    """Where the text comes from, for a remark."""
    return "public documents in 101 languages (the pool)" if POOL.is_dir() else "the texts of examples/"


def texts(languages: int | None = None) -> dict[str, list[str]]:
    """Language → documents, each once; of so many languages, those with the most text."""
    files = sorted(POOL.glob("*.jsonl.gz")) or [ROOT / "examples" / "documents.jsonl"]
    found: dict[str, list[str]] = {}
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                found.setdefault(record.get("lang", "en"), []).append(record["text"])
    largest = sorted(found, key=lambda lang: -sum(map(len, found[lang])))[:languages]
    return {lang: found[lang] for lang in sorted(largest)}


def make_documents(
    directory: Path, text_bytes: int | None, languages: int | None = None, *, heldout_share: float = 0.0
) -> int:
    """documents/1 of about so many bytes of text, or of each text once, as `mglm corpus build` lays it out; the bytes.

    A share of the documents is held out by their hash, at least one of a language; of share 0 none. In a process of its
    own, so that what it holds does not count as what is measured after it.
    """
    child = multiprocessing.get_context("spawn").Process(
        target=_make_documents, args=(directory, text_bytes, languages, heldout_share)
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    return sum(count["bytes"] for count in read_manifest(directory, DOCUMENTS).counts.values())


def make_tokenizer(work: Path, documents: Path, spark: SparkConfig, vocab_size: int) -> Path:
    """A tokenizer of a balanced sample of these documents; returns its directory."""
    plan = work / "tokenizer_plan.json"
    plan.write_text(plan_of(documents).to_json(), encoding="utf-8")
    config = BalancingConfig(sample_bytes=5_000_000)
    make_sample(documents, plan, work / "tokenizer_sample", config=config, spark=spark)
    made = TokenizerConfig(vocab_size=vocab_size, num_threads=2)
    train_tokenizer(work / "tokenizer_sample", work / "tokenizer", made)
    return work / "tokenizer"


def make_shards(work: Path, vocab_size: int, bytes_per_language: int = 60_000) -> None:
    """`work/shards` of all texts, without Spark, and `work/plan.json` with equal shares.

    The tokenizer is trained on so much of each language.
    """
    found, some = texts(), {}
    for lang, of_language in found.items():
        ends = itertools.accumulate(len(text.encode()) for text in of_language)
        some[lang] = of_language[: 1 + sum(end <= bytes_per_language for end in ends)]
    shards.write_shards(work / "shards", found, shards.make_tokenizer(work, some, vocab_size, threads=2))
    plan = fit_plan({lang: len(of_language) for lang, of_language in found.items()}, strategy="uniform")
    (work / "plan.json").write_text(plan.to_json(), encoding="utf-8")


def plan_of(documents: Path, *, strategy: str = "two-stage") -> Plan:
    """A plan by the documents' bytes."""
    counts = read_manifest(documents, DOCUMENTS).counts
    return fit_plan({code: count["bytes"] for code, count in counts.items()}, strategy=strategy)  # type: ignore[arg-type]


def _make_documents(directory: Path, text_bytes: int | None, languages: int | None, heldout_share: float) -> None:
    asked = {"text_bytes": text_bytes, "languages": languages, "heldout_share": heldout_share}
    stage = open_stage(directory, schema=DOCUMENTS, config=asked, inputs={})
    if stage.done:
        return
    found = texts(languages)
    once = sum(len(text.encode()) for of_language in found.values() for text in of_language)
    counts, rows = {}, {}
    for lang, of_language in sorted(found.items()):
        of_share = list(_rows(of_language, text_bytes / once if text_bytes else 1.0, heldout_share))
        if heldout_share and not any(row["split"] == "heldout" for row in of_share):
            min(of_share, key=lambda row: uniform(str(row["doc_id"]), "split"))["split"] = "heldout"
        table = pa.Table.from_pylist(of_share, schema=DOCUMENTS_TABLE).sort_by("doc_id")
        place = directory / "documents" / f"lang={lang}" / "part-00000.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        size = sum(table.column("n_bytes").to_pylist())
        group = max(1, len(table) * ROW_GROUP_BYTES // max(size, 1))
        pq.write_table(table, place, row_group_size=group, compression="zstd", use_dictionary=["split", "script"])
        counts[lang] = {
            "documents": len(table),
            "heldout_documents": table.column("split").to_pylist().count("heldout"),
            "characters": sum(table.column("n_chars").to_pylist()),
            "bytes": size,
        }
        rows[place.relative_to(directory).as_posix()] = len(table)
    stage.finish(rows=rows, counts=counts)


def _rows(of_language: list[str], times: float, heldout_share: float) -> Iterator[dict[str, object]]:
    for number in range(max(1, round(times * len(of_language)))):
        turn, index = divmod(number, len(of_language))
        text = of_language[index] + (f"\n{turn}" if turn else "")
        doc_id = document_id(text)
        yield {
            "doc_id": doc_id,
            "text": text,
            "url": None,
            "script": "Zyyy",
            "lid_label": "xx",
            "lid_score": 1.0,
            "n_chars": len(text),
            "n_bytes": len(text.encode()),
            "source": "benchmark",
            "offset": number,
            "split": split_of(doc_id, heldout_share),
        }
