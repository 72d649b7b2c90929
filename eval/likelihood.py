"""How probable a model finds an answer: the logarithm of P(span | source), for choosing among given answers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from model.hf.modeling_mglm import glm_mask
from model.summarizer import Summarizer
from tokenizer.inputs import SourceIds


def span_log_probs(
    summarizer: Summarizer, sources: Sequence[SourceIds], spans: Sequence[list[int]], *, ended: bool
) -> list[float]:
    """Σ log p of each span's tokens at its source's mask, in nats; with its end token where `ended`."""
    return [total for total, _ in span_scores(summarizer, sources, spans, ended=ended)]


@torch.inference_mode()
def span_scores(
    summarizer: Summarizer, sources: Sequence[SourceIds], spans: Sequence[list[int]], *, ended: bool
) -> list[tuple[float, bool]]:
    """As `span_log_probs`, and whether every token is the most probable at its place.

    All rows go through the model together. Only the spans' positions get logits: a whole row of a large vocabulary
    would take gigabytes.
    """
    model, tokenizer = summarizer.model, summarizer.tokenizer
    wanted = [[*span, tokenizer.eop_id] if ended else list(span) for span in spans]
    if not all(wanted):
        raise ValueError("an answer without tokens has no probability")
    rows = [[*source.ids, tokenizer.sop_id, *span[:-1]] for source, span in zip(sources, wanted, strict=True)]
    length = max(map(len, rows))
    ids_BS = torch.full((len(rows), length), tokenizer.pad_id)
    real_BS = torch.zeros(len(rows), length, dtype=torch.long)
    positions_B2S = torch.zeros(len(rows), 2, length, dtype=torch.long)
    labels_BS = torch.full((len(rows), length), -100)
    for index, (row, source, span) in enumerate(zip(rows, sources, wanted, strict=True)):
        context, end = len(source.ids), len(row)
        ids_BS[index, :end] = torch.tensor(row)
        real_BS[index, :end] = 1
        positions_B2S[index, 0, :context] = torch.arange(context)
        positions_B2S[index, 0, context:end] = source.mask_position
        positions_B2S[index, 1, context:end] = torch.arange(1, len(span) + 1)
        labels_BS[index, context:end] = torch.tensor(span)
    device = model.device
    context_length_B = torch.tensor([len(source.ids) for source in sources], device=device)
    mask_B1SS = glm_mask(context_length_B, real_BS.to(device), 0, length)
    hidden_BSH = model.transformer(ids_BS.to(device), positions_B2S.to(device), mask_B1SS, None)
    scores = []
    for hidden_SH, labels_S in zip(hidden_BSH, labels_BS.to(device), strict=True):
        scored_S = labels_S != -100
        logits_NV = model.lm_head(hidden_SH[scored_S]).float()
        total = -float(F.cross_entropy(logits_NV, labels_S[scored_S], reduction="sum").double())
        scores.append((total, bool((logits_NV.argmax(-1) == labels_S[scored_S]).all())))
    return scores
