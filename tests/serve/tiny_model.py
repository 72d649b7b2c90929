"""A model small enough to serve in a test: random weights, a vocabulary of one made-up sentence, fixed answers.

Weights are drawn wide, so that what comes out depends on the article: each article has its own summary, which a client
can check. Used by the tests here and by the drills of the service.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from transformers import GenerationConfig

from model.export import GENERATION
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from tokenizer.encoding import Tokenizer

SENTENCE = "the river rises in spring and bridges hold while people walk over them to see water grass"
WORDS = [*SENTENCE.split(), "河水", "上涨", "。", "نهر", "جسر", "ماء", "ربيع", "शहर", "नदी", "पुल", "पानी"]
SOURCE_LENGTH = 96
MOST_TOKENS = 24


def article(number: int, words: int = 24) -> str:
    """An article of its own for each number."""
    return " ".join(np.random.default_rng(number).choice(WORDS, words))


def write_model(directory: Path, seed: int = 0, pieces: Sequence[str] = (), layers: int = 2) -> Path:
    """A Hugging Face directory as `mglm model convert` makes them; another seed gives other weights. `pieces` are
    whole words of its vocabulary, which its summaries may hold."""
    tokenizer = _tokenizer(pieces)
    config = MGLMConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=257,
        source_length=SOURCE_LENGTH,
        initializer_range=0.6,
        pad_token_id=tokenizer.pad_id,
        cls_token_id=tokenizer.cls_id,
        mask_token_ids=[tokenizer.mask_id, tokenizer.smask_id, tokenizer.gmask_id],
        sop_token_id=tokenizer.sop_id,
        eos_token_id=tokenizer.eop_id,
    )
    torch.manual_seed(seed)
    model = GLMForConditionalGeneration(config)
    settings = {**GENERATION, "max_new_tokens": MOST_TOKENS}
    model.generation_config = GenerationConfig(
        **settings, pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id
    )
    model.save_pretrained(directory)
    tokenizer.save(directory)
    return directory


def _tokenizer(pieces: Sequence[str]) -> Tokenizer:
    generator = np.random.default_rng(0)
    sentences = [" ".join(generator.choice(WORDS, 12)) + "\n" for _ in range(400)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=400 + len(pieces),
        user_defined_symbols=list(pieces),
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        hard_vocab_limit=False,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer(model.getvalue())
