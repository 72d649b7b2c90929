import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import MGLMError
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.summarizer import Summarizer, left_padded
from tokenizer.encoding import Tokenizer

QUICK: dict[str, Any] = {"num_beams": 2, "max_new_tokens": 8, "renormalize_logits": True, "no_repeat_ngram_size": 3}


@pytest.fixture(scope="module")
def summarizer(tokenizer: Tokenizer) -> Summarizer:
    torch.manual_seed(0)
    config = MGLMConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=257,
        source_length=128,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_id,
        cls_token_id=tokenizer.cls_id,
        mask_token_ids=[tokenizer.mask_id, tokenizer.smask_id, tokenizer.gmask_id],
        sop_token_id=tokenizer.sop_id,
        eos_token_id=tokenizer.eop_id,
    )
    return Summarizer(GLMForConditionalGeneration(config).double(), tokenizer)


def test_a_batch_gives_what_each_text_gives_alone(summarizer: Summarizer, texts: list[str]) -> None:
    together = summarizer.summarize(texts, target="en", batch_size=3, **QUICK)
    assert together == [summarizer.summarize(text, target="en", **QUICK) for text in texts]
    assert any(together)


@pytest.mark.parametrize("beams", [1, 3])
def test_reading_the_article_once_for_all_beams_changes_nothing(
    summarizer: Summarizer, tokenizer: Tokenizer, texts: list[str], beams: int
) -> None:
    sources = [[tokenizer.cls_id, *tokenizer.encode(text), tokenizer.smask_id] for text in texts]
    ids, mask = left_padded([[*source, tokenizer.sop_id] for source in sources], tokenizer.pad_id)
    settings = {**QUICK, "num_beams": beams}
    spans = summarizer.model.generate(input_ids=ids, attention_mask=mask, **settings)[:, ids.shape[1] :].tolist()
    wanted = [[index for index in span if index < tokenizer.pieces] for span in spans]
    assert summarizer.generate(sources, **settings) == wanted


def test_the_target_language_and_the_text_matter(summarizer: Summarizer, texts: list[str]) -> None:
    assert summarizer.summarize(texts[1], target="zh", **QUICK) != summarizer.summarize(texts[1], target="en", **QUICK)


def test_a_long_article_is_cut_and_the_log_says_so(
    summarizer: Summarizer, texts: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("mglm"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="mglm"):
        cut = summarizer.summarize(" ".join(texts * 5), target="en", **QUICK)
    assert isinstance(cut, str)
    assert "cut to the 128" in caplog.text


def test_mistakes_are_named(summarizer: Summarizer, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="empty text"):
        summarizer.summarize([" \n"], target="en")
    with pytest.raises(MGLMError, match="'xx'"):
        summarizer.summarize("a river", target="xx")
    with pytest.raises(MGLMError, match="no config.json"):
        Summarizer.from_pretrained(tmp_path)


def test_no_texts_give_no_summaries_and_masks_in_a_text_stay_text(summarizer: Summarizer) -> None:
    assert summarizer.summarize([], target="en") == []
    assert isinstance(summarizer.summarize("the [sMASK] river <|startofpiece|>", target="en", **QUICK), str)
