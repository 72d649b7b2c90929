"""A tiny tokenizer, shards, plan and examples, made with the real writers."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.examples import EXAMPLES, Example, write_examples
from core.manifest import FileEntry, describe_files, open_stage
from core.plan import Plan, PlanLanguage
from core.schemas import DOCUMENTS as DOCUMENTS_SCHEMA
from core.schemas import DOCUMENTS_TABLE, SAMPLE, SAMPLE_TABLE, SHARDS
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import summary_source
from tokenizer.shard_writer import Part, write_part
from tokenizer.train import train_tokenizer

VOCABULARY = {
    "en": "the a river market teacher morning walks sings old bridge garden rain paints small boat letter child",
    "hi": "नदी बाज़ार शिक्षक सुबह चलता गाती पुराना पुल बाग़ बारिश छोटी नाव चिट्ठी बच्चा और है",
    "th": "แม่น้ำ ตลาด ครู เช้า เดิน ร้องเพลง เก่า สะพาน สวน ฝน เล็ก เรือ จดหมาย เด็ก",
}
WORDS = {lang: words.split() for lang, words in VOCABULARY.items()}
ENDS = {"en": ". ", "hi": "। ", "th": " "}
SHARES = {"en": 0.5, "hi": 0.3, "th": 0.2}


def make_document(lang: str, seed: int) -> str:
    draw = random.Random(f"{lang}{seed}")
    joint = "" if lang == "th" else " "
    sentences = [joint.join(draw.choices(WORDS[lang], k=draw.randint(4, 12))) for _ in range(draw.randint(2, 12))]
    return ENDS[lang].join(sentences) + ENDS[lang].strip()


DOCUMENTS = {lang: [make_document(lang, seed) for seed in range(40)] for lang in WORDS}


@pytest.fixture(scope="session")
def documents() -> dict[str, list[str]]:
    return DOCUMENTS


@pytest.fixture(scope="session")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizer")
    stage = open_stage(root / "sample", schema=SAMPLE, config={}, inputs={})
    rows = [
        {"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text}
        for lang, texts in DOCUMENTS.items()
        for text in texts
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), root / "sample" / "part.parquet")
    stage.finish()
    train_tokenizer(root / "sample", root / "made", TokenizerConfig(vocab_size=420, num_threads=1))
    return root / "made"


@pytest.fixture(scope="session")
def tokenizer(tokenizer_directory: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_directory)


@pytest.fixture(scope="session")
def shards_directory(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    root = tmp_path_factory.mktemp("shards") / "shards"
    stage = open_stage(root, schema=SHARDS, config={}, inputs={})
    tokenizer.save(root / "tokenizer")
    rows = []
    for number, (lang, texts) in enumerate(sorted(DOCUMENTS.items())):
        columns = [pa.array([document_id(text) for text in texts]), pa.array(texts)]
        batch = pa.RecordBatch.from_arrays(columns, names=["doc_id", "text"])
        rows.append(write_part([batch], tokenizer, Part(number, lang, 0), root, stage.work))
    files = [FileEntry(path=row.path, rows=row.rows, bytes=row.bytes, sha256=row.sha256) for row in rows]
    inside = describe_files(root / "tokenizer", {})
    files += [entry.model_copy(update={"path": f"tokenizer/{entry.path}"}) for entry in inside]
    stage.finish(
        files=files,
        counts={row.lang: {"documents": row.rows, "tokens": row.tokens, "bytes": row.n_bytes} for row in rows},
        facts={"tokenizer_sha256": tokenizer.sha256, "tokens_of_file": {row.path: row.tokens for row in rows}},
    )
    return root


@pytest.fixture(scope="session")
def documents_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that were held out: nothing of them is in the shards."""
    root = tmp_path_factory.mktemp("documents") / "documents"
    stage = open_stage(root, schema=DOCUMENTS_SCHEMA, config={}, inputs={})
    for lang in WORDS:
        texts = [make_document(lang, seed) for seed in range(100, 103)]
        rows = [
            {
                "doc_id": document_id(text), "text": text, "url": None, "script": "Zyyy", "lid_label": lang,
                "lid_score": 1.0, "n_chars": len(text), "n_bytes": len(text.encode()), "source": "made up",
                "offset": number, "split": "heldout",
            }
            for number, text in enumerate(texts)
        ]  # fmt: skip
        folder = root / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), folder / "part-00000.parquet")
    stage.finish(counts={lang: {"documents": 3, "heldout_documents": 3} for lang in WORDS})
    return root


def write_plan(path: Path, shares: dict[str, float]) -> Path:
    languages = [
        PlanLanguage(code=code, count=1, rank=rank, fitted_count=1, raw_share=share, stage1_share=share, share=share)
        for rank, (code, share) in enumerate(shares.items(), start=1)
    ]
    plan = Plan(strategy="table", alpha=None, curve=None, count_unit="documents", languages=languages)
    path.write_text(plan.to_json(), "utf-8")
    return path


@pytest.fixture(scope="session")
def plan_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan") / "plan.json", SHARES)


def make_examples(count: int) -> list[Example]:
    return [
        Example(
            id=f"{lang}-{number}",
            task="summaries",
            lang=lang,
            target_lang="en",
            split="train",
            source=summary_source(DOCUMENTS[lang][number], "en"),
            target=" ".join(DOCUMENTS["en"][number].split()[:8]),
        )
        for number in range(count)
        for lang in ("en", "hi")
    ]


@pytest.fixture(scope="session")
def examples_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("examples") / "examples"
    stage = open_stage(root, schema=EXAMPLES, config={}, inputs={})
    write_examples(root / "train.jsonl", make_examples(12))
    stage.finish()
    return root


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    """A model that trains in a blink; no dropout, so that runs can be compared closely."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
        [model]
        num_layers = 2
        hidden_size = 32
        num_attention_heads = 2
        sequence_length = 64
        max_positions = 128
        hidden_dropout = 0.0
        attention_dropout = 0.0
        [pretrain]
        steps = 6
        global_batch_size = 4
        micro_batch_size = 2
        save_interval = 3
        tensor_parallel = 2
        [finetune]
        steps = 4
        global_batch_size = 4
        micro_batch_size = 2
        source_length = 60
        target_length = 20
        tensor_parallel = 2
        """,
        "utf-8",
    )
    return path
