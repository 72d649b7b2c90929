"""Blank infilling beside fine-tuning, against forgetting (paper §5: "mix in common multilingual corpora").

The samples are those of pretraining, cut from shards by a plan's shares. Light: imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import MGLMError
from core.manifest import read_manifest
from core.plan import read_plan
from core.schemas import SHARDS
from model.config import ModelConfig
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import PretrainBatches, window_length
from train.blank_infilling import check_positions, mean_length
from train.config import FinetuneConfig, PretrainConfig
from train.finetune_batches import BLANKS


@dataclass(frozen=True)
class BlankSource:
    """Where rows of blank infilling come from, checked; `row_tokens` of one on the average."""

    batches: PretrainBatches
    sampler: Sampler
    inputs: dict[str, str]
    row_tokens: int

    @property
    def languages(self) -> tuple[str, ...]:
        """As the record of losses names them."""
        return tuple(f"{BLANKS}{lang}" for lang in self.sampler.languages)

    def epochs(self, rows: int) -> Mapping[str, float]:
        """How often each language's data is seen in so many rows."""
        return {f"{BLANKS}{lang}": times for lang, times in self.sampler.epochs(rows).items()}


def blank_source(config: FinetuneConfig, model: ModelConfig, tokenizer: Tokenizer) -> BlankSource:
    """What `blank_infilling_shards` and `plan` give, in rows of the model's sequence length.

    Raises:
        MGLMError: no shards or plan there, another tokenizer, or a language of the plan that has no shards.
    """
    assert config.blank_infilling_shards is not None
    assert config.plan is not None
    path = Path(config.blank_infilling_shards)
    manifest, plan = read_manifest(path, SHARDS), read_plan(Path(config.plan))
    opened = Shards.open(path)
    found = Tokenizer.load(opened.tokenizer_directory)
    if found.sha256 != tokenizer.sha256:
        raise MGLMError(
            f"finetune.blank_infilling_shards {path}",
            found=f"a tokenizer of {found.pieces:,} pieces, sha256 {found.sha256[:12]}…",
            expected=f"the checkpoint's, sha256 {tokenizer.sha256[:12]}…",
            action="give the shards it was trained on, or others made with its tokenizer",
        )
    cutting = PretrainConfig(seed=config.seed, blanks=config.blanks)
    window = window_length(model.sequence_length, cutting)
    check_positions("finetune", config.blanks, window, model.max_positions)
    sampler = Sampler(opened.stream_lengths(), plan.shares(), window, config.seed)
    if sampler.dropped:
        raise MGLMError(
            f"finetune.plan {config.plan}",
            found=f"a share for {', '.join(sampler.dropped)}",
            expected=f"languages of {path}: {', '.join(opened.languages)}",
            action="shard these languages too, or fit a plan without them",
        )
    for lang in sampler.languages:
        opened.pieces(lang, 0, 1)  # maps and checks the file
    return BlankSource(
        PretrainBatches(opened, sampler, tokenizer, cutting, model.sequence_length),
        sampler,
        {"blank_infilling_shards": manifest.content_hash(), "plan": plan.content_hash()},
        mean_length(model.sequence_length, config.blanks),
    )
