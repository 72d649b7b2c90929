import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.hf.modeling_mglm import GLMForConditionalGeneration, SpanNoRepeatNGram

PAD, CLS, SMASK, SOP = 300, 302, 308, 306
BEAM: dict[str, Any] = {
    "num_beams": 4, "length_penalty": 0.7, "no_repeat_ngram_size": 3, "max_new_tokens": 12, "renormalize_logits": True,
    "do_sample": False,
}  # fmt: skip


def forward(twin: GLMForConditionalGeneration, case: dict[str, Tensor], **others: Tensor) -> Any:
    return twin(case["input_ids"], position_ids=case["position_ids"], context_length=case["sep"], **others)


def prompt(length: int, seed: int) -> list[int]:
    text = torch.randint(0, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return [CLS, *text, SMASK, SOP]


def left_padded(rows: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@torch.no_grad()
def test_logits_are_those_of_the_authors_model(
    reference: Any, reference_twin: GLMForConditionalGeneration, dtype: torch.dtype, tolerance: float
) -> None:
    twin = copy.deepcopy(reference_twin).to(dtype)
    for _, case in reference.cases():
        torch.testing.assert_close(forward(twin, case).logits.double(), case["logits_f64"], rtol=0, atol=tolerance)


@torch.no_grad()
def test_losses_plain_and_smoothed_are_those_of_the_authors(
    reference: Any, reference_twin: GLMForConditionalGeneration
) -> None:
    twin = copy.deepcopy(reference_twin).double()
    for described, case in reference.cases():
        if "labels" not in case:
            continue
        output = forward(twin, case, labels=case["labels"])
        assert float(output.loss) == pytest.approx(described["loss"], abs=1e-10)
        smoothed = torch.nn.functional.cross_entropy(
            output.logits.flatten(0, 1), case["labels"].flatten(), ignore_index=-100, label_smoothing=0.1
        )
        assert float(smoothed) == pytest.approx(described["loss_label_smoothing_0.1"], abs=1e-10)


@torch.no_grad()
def test_what_is_not_given_follows_from_the_ids(reference_twin: GLMForConditionalGeneration) -> None:
    ids = torch.tensor([[CLS, 5, SMASK, 6, SOP, 7, 8]])
    positions = torch.tensor([[[0, 1, 2, 3, 2, 2, 2], [0, 0, 0, 0, 1, 2, 3]]])
    given = reference_twin(ids, torch.ones_like(ids), positions, torch.tensor([4])).logits
    assert torch.equal(reference_twin(ids).logits, given)
    shifted, mask = left_padded(ids.tolist(), 9)
    torch.testing.assert_close(reference_twin(shifted, mask).logits[:, 2:], given, rtol=0, atol=1e-5)


def test_positions_of_several_masks_or_spans_are_not_guessed(reference_twin: GLMForConditionalGeneration) -> None:
    for row in ([CLS, SMASK, 5, SMASK, SOP], [CLS, SMASK, 5, SOP, 6, SOP], [CLS, 5, SOP]):
        with pytest.raises(ValueError, match="position_ids"):
            reference_twin(torch.tensor([row]))


@torch.no_grad()
def test_a_batch_padded_on_the_left_generates_what_each_row_does_alone(
    reference_twin: GLMForConditionalGeneration,
) -> None:
    twin = copy.deepcopy(reference_twin).double()
    rows = [prompt(length, length) for length in (4, 19, 11)]
    ids, mask = left_padded(rows, 24)
    together = twin.generate(ids, attention_mask=mask, **BEAM)[:, 24:]
    for row, generated in zip(rows, together.tolist(), strict=True):
        alone = twin.generate(torch.tensor([row]), **BEAM)[0, len(row) :].tolist()
        assert generated[: len(alone)] == alone


@pytest.mark.parametrize("beams", [1, 4])
@torch.no_grad()
def test_the_cache_changes_nothing(reference_twin: GLMForConditionalGeneration, beams: int) -> None:
    twin = copy.deepcopy(reference_twin).double()
    ids, mask = left_padded([prompt(9, 1), prompt(14, 2)], 20)
    settings = {**BEAM, "num_beams": beams, "length_penalty": None if beams == 1 else 0.7}
    cached = twin.generate(ids, attention_mask=mask, use_cache=True, **settings)
    assert torch.equal(cached, twin.generate(ids, attention_mask=mask, use_cache=False, **settings))


def test_the_article_bans_no_ngrams() -> None:
    ids, scores = torch.tensor([[7, 8, 7, 5, 9, 5]]), torch.zeros(1, 10)
    banned = SpanNoRepeatNGram(2, prompt_length=3)(ids, scores)[0]
    assert banned.isinf().nonzero().flatten().tolist() == [9]  # 5 9 was said; 7 8 stands in the article alone
    assert SpanNoRepeatNGram(2, prompt_length=3)(ids[:, :3], scores).isinf().sum() == 0


@torch.no_grad()
def test_no_ngram_of_the_span_comes_twice(reference_twin: GLMForConditionalGeneration) -> None:
    row = prompt(6, 3)
    settings = {**BEAM, "num_beams": 1, "length_penalty": None, "no_repeat_ngram_size": 1, "max_new_tokens": 20}
    span = reference_twin.generate(torch.tensor([row]), **settings)[0, len(row) :].tolist()
    assert len(set(span)) == len(span)


def as_generate_does(twin: GLMForConditionalGeneration, ids: Tensor, mask: Tensor, **settings: Any) -> Tensor:
    return twin.generate(ids, attention_mask=mask, **settings)


def without_cache(twin: GLMForConditionalGeneration, ids: Tensor, mask: Tensor, **settings: Any) -> Tensor:
    return twin.generate(ids, attention_mask=mask, use_cache=False, **settings)


def read_once(twin: GLMForConditionalGeneration, ids: Tensor, mask: Tensor, **settings: Any) -> Tensor:
    cache = twin.read(ids, mask, settings["num_beams"])
    return twin.generate(ids, attention_mask=mask, past_key_values=cache, **settings)


@pytest.mark.parametrize(
    ("generate", "together"), [(as_generate_does, True), (without_cache, True), (read_once, True), (read_once, False)]
)
@torch.no_grad()
def test_beam_search_finds_what_the_authors_search_finds(
    reference_twin: GLMForConditionalGeneration, generate: Callable[..., Tensor], together: bool
) -> None:
    assert same_as_the_authors(reference_twin, generate, together, length_penalty_counts_end=False) == (80, 80)


@torch.no_grad()
def test_with_transformers_length_four_of_them_differ(reference_twin: GLMForConditionalGeneration) -> None:
    assert same_as_the_authors(reference_twin, read_once, True, length_penalty_counts_end=True) == (76, 80)


def same_as_the_authors(
    twin: GLMForConditionalGeneration, generate: Callable[..., Tensor], together: bool, length_penalty_counts_end: bool
) -> tuple[int, int]:
    """How many of the reference's sequences come out, and of how many; `together` in one padded batch a case."""
    from tests.model.conftest import REFERENCE

    twin = copy.deepcopy(twin).double()
    twin.generation_config.length_penalty_counts_end = length_penalty_counts_end
    same = total = 0
    with np.load(REFERENCE / "beam_search.npz") as arrays:
        for index, case in enumerate(json.loads((REFERENCE / "beam_search.json").read_text("utf-8"))["cases"]):
            twin.get_input_embeddings().weight[307] = torch.from_numpy(arrays[f"case{index}/eop_embedding"]).double()
            contexts = zip(arrays[f"case{index}/text"], arrays[f"case{index}/attention_mask"], strict=True)
            # The authors' model attends to the padding behind the mask, so here it is a part of the context.
            rows = [[*ids[: int(length)].tolist(), SOP] for ids, length in contexts]
            batches = [rows] if together else [[row] for row in rows]
            found = [span for batch in batches for span in generated(twin, generate, batch, case["spec"])]
            for span, wanted in zip(found, case["output_ids"], strict=True):
                same += span[: len(wanted)] == wanted and set(span[len(wanted) :]) <= {307, PAD}
                total += 1
    return same, total


def generated(
    twin: GLMForConditionalGeneration, generate: Callable[..., Tensor], rows: list[list[int]], spec: dict[str, Any]
) -> list[list[int]]:
    ids, mask = left_padded(rows, max(map(len, rows)))
    settings = {
        "num_beams": spec["num_beams"],
        "length_penalty": spec["length_penalty"],
        "no_repeat_ngram_size": spec["no_repeat_ngram_size"],
        "min_new_tokens": spec["min_tgt_length"],
        "max_new_tokens": spec["tgt_seq_length"],
        "renormalize_logits": True,
        "do_sample": False,
    }
    spans: list[list[int]] = generate(twin, ids, mask, **settings)[:, ids.shape[1] :].tolist()
    return spans


@torch.no_grad()
def test_reordering_beams_moves_no_keys(reference_twin: GLMForConditionalGeneration) -> None:
    ids, mask = left_padded([prompt(9, 1), prompt(14, 2)], 17)
    cache = reference_twin.read(ids, mask, 3)
    step = {"position_ids": torch.full((6, 2, 1), 3), "past_key_values": cache}
    reference_twin(torch.full((6, 1), SOP), **step)
    before = [key.data_ptr() for key in cache.keys]
    cache.reorder_cache(torch.tensor([2, 0, 0, 3, 5, 4]))
    seen = cache.sees_BJK[:, :, -3:].int().tolist()  # whose columns each beam goes on from
    assert seen == [[[0, 0, 1], [1, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]]
    reference_twin(torch.full((6, 1), 5), **step)
    assert [key.data_ptr() for key in cache.keys] == before
    assert cache.get_seq_length() == 16 + 2
    with pytest.raises(ValueError, match="one token a beam"):
        reference_twin(torch.full((6, 2), 5), **step)
