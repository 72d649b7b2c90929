"""How well the models of `benchmarks.evidence` fill blanks in held-out text, by the kind of blank.

Held-out text is cut into rows as pretraining's are, and each kind of blank is cut from all of them by pretraining's own
code, from one seed: every model meets the same blanks. Scored is what stood there, per UTF-8 byte; end tokens are not.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from core.manifest import write_atomically
from model.config import ModelConfig
from model.export import make_twin
from model.hf.modeling_mglm import GLMForConditionalGeneration, glm_mask
from model.readers import LoadedModel, read_megatron
from tokenizer.encoding import Tokenizer
from tokenizer.sentences import SentenceEnds
from train.blank_infilling import choose_blanks, max_spans, row_length
from train.blank_layout import NO_LOSS, Rows, Samples, layout_rows
from train.config import BlankConfig

KINDS = {
    "token blanks": BlankConfig(token_blanks=1, sentence_blanks=0, generation=0),
    "sentence blanks": BlankConfig(token_blanks=0, sentence_blanks=1, generation=0),
    "generation": BlankConfig(token_blanks=0, sentence_blanks=0, generation=1),
}
SEED = 0
BATCH = 32

Filled = dict[str, dict[str, float]]  # kind → language → bits per byte


def filled(run: Path) -> Filled:
    """Bits per byte of what stood in blanks, of the texts that the run was measured on; kept in its `blanks.json`."""
    kept = run / "blanks.json"
    if kept.exists():
        return dict(json.loads(kept.read_text("utf-8")))
    texts = json.loads((run / "heldout.json").read_text("utf-8"))["texts"]
    loaded = read_megatron(run, None, ModelConfig())
    model = make_twin(loaded).eval()
    found = {
        kind: {lang: score(model, samples_of(loaded, texts[lang], config), loaded.tokenizer) for lang in sorted(texts)}
        for kind, config in KINDS.items()
    }
    write_atomically(kept, json.dumps(found))
    return found


def samples_of(loaded: LoadedModel, texts: Sequence[str], config: BlankConfig) -> Samples:
    """All of each text, [CLS] first in every row, with blanks of one kind."""
    tokenizer, size = loaded.tokenizer, loaded.model.sequence_length - 1
    pieces = [
        tokens[start : start + size]
        for tokens in tokenizer.encode_batch(list(texts))
        for start in range(0, len(tokens), size)
    ]
    tokens_BL = np.full((len(pieces), size + 1), tokenizer.eos_id, dtype=np.int64)
    for row, tokens in enumerate(pieces):
        tokens_BL[row, : len(tokens) + 1] = [tokenizer.cls_id, *tokens]
    length_B = np.array([len(tokens) + 1 for tokens in pieces])
    rows = Rows(tokens_BL, np.zeros_like(tokens_BL), length_B)
    blanks = choose_blanks(
        rows,
        seed=SEED,
        index_B=np.arange(len(pieces)),
        ids=tokenizer,
        sentences=SentenceEnds(tokenizer),
        config=config,
        spans=max_spans(size + 1, config),
    )
    return layout_rows(rows, blanks, tokenizer, row_length(size + 1, config))


@torch.inference_mode()
def score(model: GLMForConditionalGeneration, samples: Samples, tokenizer: Tokenizer) -> float:
    """Bits per byte of the labels that are text."""
    nats, scored_bytes = 0.0, 0
    for start in range(0, len(samples.length_B), BATCH):
        part = slice(start, start + BATCH)
        length_B = samples.length_B[part]
        longest = int(length_B.max())
        labels_BS = samples.labels_BS[part, :longest]
        real_BS = np.arange(longest) < length_B[:, None]
        mask_B1SS = glm_mask(
            torch.from_numpy(samples.context_length_B[part]), torch.from_numpy(real_BS.astype(np.int64)), 0, longest
        )
        hidden_BSH = model.transformer(
            torch.from_numpy(samples.input_ids_BS[part, :longest]),
            torch.from_numpy(samples.position_ids_B2S[part, :, :longest]),
            mask_B1SS,
            None,
        )
        scored_BS = (labels_BS != NO_LOSS) & (labels_BS != tokenizer.eop_id)
        logits_NV = model.lm_head(hidden_BSH[torch.from_numpy(scored_BS)]).float()
        labels_N = labels_BS[scored_BS]
        nats += float(F.cross_entropy(logits_NV, torch.from_numpy(labels_N), reduction="none").double().sum())
        scored_bytes += tokenizer.byte_length(labels_N)
    return nats / math.log(2) / scored_bytes
