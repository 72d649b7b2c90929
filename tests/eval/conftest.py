"""A tiny model with random weights, exported as `mglm model convert` does, and examples to try it on."""

import io
from pathlib import Path

import pytest
import sentencepiece
import torch

from core.examples import EXAMPLES, Example, write_examples
from core.stage import open_stage
from model.config import ModelConfig
from model.convert import HF
from model.export import hf_config, write_export
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.readers import LoadedModel
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import summary_source

TEXTS = {
    "en": "The ferry left the harbour late because of the fog, and nobody on the quay was surprised.",
    "zh": "渡轮因为大雾很晚才离开港口，码头上没有人感到意外。",
    "hi": "कोहरे के कारण नाव देर से चली और किसी को आश्चर्य नहीं हुआ।",
    "th": "เรือออกช้าเพราะหมอก และไม่มีใครแปลกใจ",
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(TEXTS.values()) * 3),
        model_writer=model,
        vocab_size=420,
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return Tokenizer(model.getvalue())


@pytest.fixture(scope="session")
def export(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hf/1 directory of a model that has learned nothing."""
    shape = ModelConfig(
        num_layers=2, hidden_size=32, num_attention_heads=2, sequence_length=24, max_positions=96, init_std=0.2
    )
    loaded = LoadedModel({}, shape, tokenizer.vocab_size, tokenizer, source_length=48, origin="Random.")
    torch.manual_seed(0)
    twin = GLMForConditionalGeneration(hf_config(loaded))
    weights = {name: weight for name, weight in twin.state_dict().items() if name != "lm_head.weight"}
    directory = tmp_path_factory.mktemp("export") / "model"
    stage = open_stage(directory, schema=HF, config={}, inputs={})
    write_export(directory, LoadedModel(weights, shape, tokenizer.vocab_size, tokenizer, 48, "Random."))
    stage.finish()
    return directory


def example(number: int, lang: str, target_lang: str) -> Example:
    text = " ".join([TEXTS[lang]] * (1 + number % 3))
    source = summary_source(text, target_lang)
    name = f"{lang}-{number}:{target_lang}"
    return Example(
        id=name, task="summaries", lang=lang, target_lang=target_lang, split="heldout", source=source,
        target=TEXTS[target_lang],
    )  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """An examples/1 directory: 3 pairs from English and Thai, with 4, 4 and 2 held-out examples."""
    directory = tmp_path / "examples"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    pairs = [("en", "zh", 4), ("en", "en", 4), ("th", "zh", 2)]
    rows = [example(number, *pair) for *pair, count in pairs for number in range(count)]
    write_examples(directory / "heldout.jsonl", rows)
    write_examples(directory / "train.jsonl", [])
    stage.finish(rows={"heldout.jsonl": len(rows), "train.jsonl": 0})
    return directory
