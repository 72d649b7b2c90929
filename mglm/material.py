"""Reads what the stages of a demo made and turns it into the material of its report."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from core.documents import document_id
from core.languages import UNKNOWN, canonical_code
from core.manifest import read_manifest
from core.plan import read_plan
from core.text import normalise
from corpus.file_systems import local_path
from corpus.inputs import JSON_LINES, InputFile
from mglm.demo import ROOT
from mglm.report import DetectionRow, LanguageRow, ReportMaterial, Sample, StageRow, UnseenArticle
from mglm.stages import DemoStage
from mglm.walk import read_timings

UNSEEN = ROOT / "examples" / "unseen.txt"
SAMPLES_SHOWN = 6


def gather(
    run: Path, inputs: Sequence[str], files: Sequence[InputFile], examples: Path, stages: Sequence[DemoStage]
) -> ReportMaterial:
    """The material of the finished demo in `run`, made of `inputs`, which are `files`.

    The unseen article is summarised here, by `model.Summarizer`.
    """
    corpus = read_manifest(run / "corpus", "documents/1")
    pretrain = read_manifest(run / "pretrain", "checkpoint/1")
    losses = {folder: read_rows(run / folder / "metrics.jsonl") for folder in ("pretrain", "finetune")}
    tokenizer = read_manifest(run / "tokenizer", "tokenizer/1")
    embedded = list(inputs) == [str(examples)]
    rejected = sum(corpus.facts["rejected"].values())
    undetermined = corpus.counts.get(UNKNOWN, {}).get("documents", 0)
    return ReportMaterial(
        title="mGLM demo",
        subtitle="the texts of examples/" if embedded else ", ".join(Path(source).name for source in inputs),
        parameters=pretrain.facts["parameters"],
        vocabulary=tokenizer.facts["pieces"],
        training_tokens=sum(row["tokens"] for row in losses["pretrain"]),
        stages=stage_rows(run, stages),
        languages=language_rows(run),
        balance_png=(run / "plan" / "balance.png").read_bytes(),
        losses=losses,
        scores=json.loads((run / "scores" / "scores.json").read_text("utf-8")),
        detection=detection_rows(run / "corpus", [Path(file.path) for file in files if _readable(file)]),
        samples=samples(run),
        unseen=unseen_article(run / "model"),
        facts={"records": f"{corpus.facts['records_in']:,} in, {rejected:,} rejected, {undetermined:,} undetermined"},
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def stage_rows(run: Path, stages: Sequence[DemoStage]) -> list[StageRow]:
    """A row for each stage, in order, with the time of the process that made it."""
    timings = read_timings(run)
    rows = []
    for stage in stages:
        timing = timings.get(stage.output.name, {})
        size_bytes = sum(path.stat().st_size for path in stage.output.rglob("*") if path.is_file())
        manifest = stage.manifest()
        seconds = float(timing.get("wall_s", manifest.made["wall_s"]))
        command = str(timing.get("command", "mglm " + " ".join(stage.arguments)))
        command = command.replace(f"{ROOT}/", "")  # as it is typed in the checkout
        peak_bytes = timing.get("peak_bytes")
        rows.append(StageRow(stage.name, command, stage.describe(manifest), seconds, size_bytes, peak_bytes))
    return rows


def language_rows(run: Path) -> list[LanguageRow]:
    """The plan's languages with what the corpus, the shards and the measurement say of each."""
    counts = read_manifest(run / "corpus", "documents/1").counts
    shards = read_manifest(run / "shards", "shards/1").counts
    measured = json.loads((run / "bits_per_byte" / "scores.json").read_text("utf-8"))["languages"]
    return [
        LanguageRow(
            code=language.code,
            documents=counts[language.code]["documents"],
            raw_share=language.raw_share,
            share=language.share,
            tokens=shards.get(language.code, {}).get("tokens"),
            bits_per_byte=measured.get(language.code, {}).get("bits_per_byte"),
        )
        for language in read_plan(run / "plan").languages
    ]


def detection_rows(corpus: Path, inputs: Sequence[Path]) -> list[DetectionRow]:
    """Detected against stated languages, for the inputs whose records have a `lang`; the pipeline never reads it."""
    stated = {
        document_id(normalise(record["text"])): canonical_code(record["lang"])
        for path in inputs
        for record in readable_records(path)
        if isinstance(record.get("lang"), str) and isinstance(record.get("text"), str)
    }
    if not stated:
        return []
    documents, right, undetermined = Counter[str](), Counter[str](), Counter[str]()
    for folder in sorted((corpus / "documents").glob("lang=*")):
        found = folder.name.removeprefix("lang=")
        for file in sorted(folder.glob("*.parquet")):
            for doc_id in pq.ParquetFile(file).read(columns=["doc_id"]).column("doc_id").to_pylist():
                if (code := stated.get(doc_id)) is not None:
                    documents[code] += 1
                    right[code] += code == found
                    undetermined[code] += found == UNKNOWN
    return [DetectionRow(code, n, right[code], undetermined[code]) for code, n in documents.most_common()]


def _readable(file: InputFile) -> bool:
    return file.format == JSON_LINES and file.compression in (None, "gzip") and local_path(file.path) == file.path


def readable_records(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSONL file, plain or .gz; broken lines, which the corpus job counts, are passed over."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record


def samples(run: Path) -> list[Sample]:
    """Some held-out examples with the model's summaries, of as many languages as can be."""
    articles = {
        row["id"]: "".join(segment["value"] for segment in row["source"] if segment["kind"] == "text")
        for row in read_rows(run / "examples" / "heldout.jsonl")
    }
    chosen: dict[str, Sample] = {}
    for row in read_rows(run / "predictions" / "predictions.jsonl"):
        sample = Sample(row["lang"], row["target_lang"], articles[row["id"]], row["reference"], row["prediction"])
        # Languages take turns between targets, so that both English and Chinese are seen.
        if row["lang"] not in chosen and row["target_lang"] == ("en", "zh")[len(chosen) % 2]:
            chosen[row["lang"]] = sample
    return list(chosen.values())[:SAMPLES_SHOWN]


def unseen_article(model: Path) -> UnseenArticle:
    """The article of examples/unseen.txt, which no stage reads, summarised into both languages."""
    from model.summarizer import Summarizer

    article = UNSEEN.read_text("utf-8")
    summarizer = Summarizer.from_pretrained(model)
    summaries = {target: str(summarizer.summarize(article, target=target)) for target in ("en", "zh")}
    return UnseenArticle(article, summaries)
