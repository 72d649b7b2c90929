"""What a run measures of itself is what the exported model's evaluation measures, and greedy is greedy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.bits_per_byte import bits_per_byte
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.topology import Topology
from model.weights import WORD_EMBEDDINGS, megatron_to_hf
from tokenizer.encoding import Tokenizer
from train.config import PretrainConfig
from train.job import Job

MODEL = ModelConfig(
    num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=128, sequence_length=48, max_positions=96,
    hidden_dropout=0.1, attention_dropout=0.1, init_std=0.3,
)  # fmt: skip


@pytest.fixture
def megatron_world() -> Iterator[None]:
    from model.parallel import initialize, shut_down

    with cpu_runtime():
        initialize(Topology(), seed=7)
        try:
            yield
        finally:
            shut_down()


@pytest.mark.usefixtures("megatron_world")
def test_bits_per_byte_and_blanks_are_those_of_the_exported_model(
    tokenizer: Tokenizer, documents: dict[str, list[str]], tmp_path: Path
) -> None:
    from model.parallel import build_chunks, unwrap
    from train.evaluation import Evaluation

    job = Job(
        name="pretraining", output=tmp_path, identity={}, inputs={}, config=PretrainConfig(micro_batch_size=4),
        model=MODEL, tokenizer=tokenizer, steps=1, world_size=1, make_batches=lambda: None,  # type: ignore[arg-type,return-value]
        sample_prompts=2, sample_tokens=6,
    )  # fmt: skip
    texts = {lang: of[:3] for lang, of in documents.items()}
    chunks = build_chunks(MODEL, tokenizer.vocab_size, Topology(), seed=3, distributed_optimizer=False)
    twin = twin_of(unwrap(chunks[0]), tokenizer)
    evaluation = Evaluation(job, texts)
    scores = evaluation.bits_per_byte(chunks)
    bits, size = {}, {}
    for lang in texts:
        bits[lang], size[lang] = bits_per_byte(twin, tokenizer, texts[lang])
        assert scores["languages"][lang] == pytest.approx(bits[lang] / size[lang], rel=1e-5)
    assert scores["bits_per_byte"] == pytest.approx(sum(bits.values()) / sum(size.values()), rel=1e-5)
    assert scores["macro"] == pytest.approx(sum(bits[lang] / size[lang] for lang in texts) / 3, rel=1e-5)
    assert evaluation.bits_per_byte(chunks) == scores  # no dropout
    assert unwrap(chunks[0]).training

    blanks = evaluation.fill_blanks(chunks)
    assert [blank["lang"] for blank in blanks] == ["en", "hi"]
    for blank, known in zip(blanks, evaluation._blanks, strict=True):
        context = [tokenizer.cls_id, *known.before, tokenizer.mask_id, *known.after]
        written: list[int] = []
        for _ in known.hidden:
            with torch.no_grad():
                logits_V = twin(torch.tensor([[*context, tokenizer.sop_id, *written]])).logits[0, -1]
            logits_V[tokenizer.pieces :][
                torch.arange(len(logits_V) - tokenizer.pieces) != tokenizer.eop_id - tokenizer.pieces
            ] = -1e9
            written.append(int(logits_V.argmax()))
        until = written[: written.index(tokenizer.eop_id)] if tokenizer.eop_id in written else written
        assert blank["written"] == tokenizer.decode(until)
        assert blank["truth"] in next(text for text in texts[blank["lang"]] if blank["truth"] in text)
        assert "[MASK]" in blank["text"]


def twin_of(stage: torch.nn.Module, tokenizer: Tokenizer) -> GLMForConditionalGeneration:
    """The Hugging Face class with the same weights."""
    config = MGLMConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=MODEL.hidden_size, num_hidden_layers=MODEL.num_layers,
        num_attention_heads=MODEL.num_attention_heads, intermediate_size=MODEL.ffn_hidden_size,
        max_position_embeddings=MODEL.max_positions, sequence_length=MODEL.sequence_length,
        pad_token_id=tokenizer.pad_id, cls_token_id=tokenizer.cls_id, sop_token_id=tokenizer.sop_id,
        mask_token_ids=[tokenizer.mask_id, tokenizer.smask_id, tokenizer.gmask_id], eos_token_id=tokenizer.eop_id,
    )  # fmt: skip
    held = {name: weight for name, weight in stage.state_dict().items() if isinstance(weight, torch.Tensor)}
    weights = megatron_to_hf(held, MODEL.num_attention_heads)
    twin = GLMForConditionalGeneration(config)
    twin.load_state_dict({**weights, "lm_head.weight": weights[WORD_EMBEDDINGS]})
    return twin.eval()
