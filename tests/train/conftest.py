"""A tiny tokenizer, shards, plan and examples, made with the real writers."""

import random
from pathlib import Path

import pytest

from benchmarks.shards import make_tokenizer, write_documents, write_plan, write_shards
from core.examples import EXAMPLES, Example, write_examples
from core.stage import open_stage
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import summary_source

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
    make_tokenizer(root, DOCUMENTS, 420)
    return root / "tokenizer"


@pytest.fixture(scope="session")
def tokenizer(tokenizer_directory: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_directory)


@pytest.fixture(scope="session")
def shards_directory(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    root = tmp_path_factory.mktemp("shards") / "shards"
    write_shards(root, DOCUMENTS, tokenizer)
    return root


@pytest.fixture(scope="session")
def documents_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents that were held out: nothing of them is in the shards."""
    root = tmp_path_factory.mktemp("documents") / "documents"
    heldout = {lang: [make_document(lang, seed) for seed in range(100, 103)] for lang in WORDS}
    write_documents(root, {"heldout": heldout})
    return root


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
