"""The `[pretrain]` and `[finetune]` sections. Light: imports no torch.

The defaults suit a first run on small machines; `configs/large.toml` holds the paper's values with their sources.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.config import Section
from model.execution import Attention, Execution, Precision, Recompute
from model.topology import Topology

# Fields that decide where and how often, not what is computed: a run may continue under other values of them.
_WHEREABOUTS = {
    "micro_batch_size",
    "tensor_parallel",
    "pipeline_parallel",
    "sequence_parallel",
    "virtual_pipeline",
    "attention",
    "head_chunk",
    "recompute",
    "save_interval",
    "keep_checkpoints",
    "prefetch",
    "missing_languages",
    "max_failed_saves",
    "on_bad_step",
    "spike_nats",
    "spike_window",
    "max_skipped",
    "language_interval",
    "tensorboard",
    "wandb",
    "peak_tflops",
    "eval_interval",
    "heldout_documents",
    "sample_prompts",
    "sample_tokens",
    "trust_remote_code",
}
_INPUTS = {"blank_infilling_shards", "plan"}  # where they lie: what they hold is hashed as an input


class TrainingConfig(Section):
    """What pretraining and fine-tuning share: the batch, the optimiser, the layout, the checkpoints."""

    global_batch_size: int = Field(default=32, gt=0)
    """Rows of one optimiser step, over all processes."""
    micro_batch_size: int = Field(default=8, gt=0)
    """Rows of one forward pass of one process."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """After warm-up; it decays linearly from there."""
    min_learning_rate: float = Field(default=0.0, ge=0)
    """What the learning rate decays to; at most learning_rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the learning rate rises from 0."""
    decay_steps: int | None = Field(default=None, gt=0)
    """Step at which min_learning_rate is reached. Unset: the last."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW; not on LayerNorm and biases."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of the gradients."""
    adam_beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of AdamW's mean of their squares."""
    adam_eps: float = Field(default=1e-6, gt=0)
    """Added to the divisor in AdamW."""
    clip: float = Field(default=1.0, ge=0)
    """Most of the global gradient norm; 0 is off."""
    seed: int = Field(default=1234, ge=0)
    """Seed of all that is random in training."""
    precision: Precision = "fp32"
    """Precision of the arithmetic; fp16 with a dynamic loss scale."""
    tensor_parallel: int = Field(default=1, gt=0)
    """Processes that every layer is split over."""
    pipeline_parallel: int = Field(default=1, gt=0)
    """Stages of processes that the layers are shared out to; what is left of the processes is data-parallel."""
    sequence_parallel: bool = False
    """With tensor parallelism: splits what lies between the split matrices, too."""
    virtual_pipeline: int = Field(default=1, gt=0)
    """With pipeline parallelism: parts of the model in each stage, taken in turn."""
    attention: Attention = "auto"
    """sdpa takes a dense mask; flex a block mask and no dropout; auto is flex on GPUs without dropout, else sdpa."""
    head_chunk: int = Field(default=1024, gt=0)
    """Positions that have logits at a time."""
    recompute: Recompute = "none"
    """full: layers keep their input alone; a third more work for a fraction of the memory."""
    distributed_optimizer: bool = False
    """Splits the optimiser's state over the data-parallel processes."""
    save_interval: int = Field(default=1000, gt=0)
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, gt=0)
    """The newest checkpoints, that stay; older ones are removed, but the best."""
    prefetch: int = Field(default=2, ge=0)
    """Steps whose batches are made ahead; 0: each when it is needed."""
    max_failed_saves: int = Field(default=2, ge=0)
    """Failed saves borne in a row, e.g. on a full disk; one more ends the run."""
    initial_loss_scale: float = Field(default=65_536.0, ge=1)
    """fp16 alone: where the dynamic loss scaling begins."""
    loss_scale_window: int = Field(default=1000, gt=0)
    """fp16 alone: steps without overflow until the scale doubles."""
    on_bad_step: Literal["skip", "stop"] = "skip"
    """At a step whose loss or gradient is not finite, or whose loss is a spike: go on with the next step's data, or end
    the run. Its update is never made."""
    spike_nats: float = Field(default=2.0, ge=0)
    """A loss so far above the median is a spike; 0: none is."""
    spike_window: int = Field(default=100, gt=1)
    """Steps the median is taken of, and no spike is seen before."""
    max_skipped: int = Field(default=10, ge=0)
    """Bad steps among the last spike_window; one more ends the run."""
    language_interval: int = Field(default=50, gt=0)
    """Steps that a row of per-language losses sums up."""
    tensorboard: bool = True
    """Writes tensorboard/ in the output, where the package is installed."""
    wandb: bool = False
    """Sends metrics to Weights & Biases where it is installed; its own variables configure it."""
    peak_tflops: float | None = Field(default=None, gt=0)
    """TFLOP/s of one device at its peak, to tell how much of it is used (MFU). Unset: that of a known GPU."""

    @model_validator(mode="after")
    def _check_shared(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate} is above learning_rate {self.learning_rate}; lower it"
            )
        if self.decay_steps is not None and self.decay_steps <= self.warmup_steps:
            raise ValueError(f"decay_steps {self.decay_steps} must be above warmup_steps {self.warmup_steps}")
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result: a run continues, and counts as done, while these stay the same."""
        return self.model_dump(exclude=_WHEREABOUTS | _INPUTS)

    def topology(self) -> Topology:
        return Topology(
            tensor=self.tensor_parallel,
            pipeline=self.pipeline_parallel,
            sequence_parallel=self.sequence_parallel,
            virtual_pipeline=self.virtual_pipeline,
        )

    def execution(self) -> Execution:
        return Execution(
            precision=self.precision, attention=self.attention, head_chunk=self.head_chunk, recompute=self.recompute
        )

    def whereabouts(self) -> dict[str, Any]:
        """The other fields, kept in the manifest as facts."""
        return self.model_dump(include=_WHEREABOUTS)


class BlankConfig(Section):
    """How blanks are cut (paper §3.1; shares and lengths from the authors' code, the paper is silent on them)."""

    token_blanks: float = Field(default=0.5, ge=0)
    """Probability of blanks of a few tokens; the three probabilities sum to 1."""
    sentence_blanks: float = Field(default=0.3, ge=0)
    """Probability of blanks of whole sentences."""
    generation: float = Field(default=0.2, ge=0)
    """Probability of one long blank: the rest of a row or, half the time in a row of one document, anywhere."""
    blank_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that is blanked, in the first two modes."""
    mean_span: float = Field(default=3.0, gt=0)
    """Mean of the Poisson distribution of token blanks' lengths."""
    max_span: int = Field(default=39, gt=0)
    """Longest token blank."""
    min_generation: float = Field(default=0.25, gt=0, lt=1)
    """Least share of a sample to be generated."""
    sentence_ends: Literal["every script", "authors"] = "every script"
    """authors: Latin and Chinese marks alone end sentences, and whole ones are taken until the share is passed."""

    @model_validator(mode="after")
    def _check_modes(self) -> Self:
        total = self.token_blanks + self.sentence_blanks + self.generation
        if abs(total - 1) > 1e-6:
            raise ValueError(f"token_blanks + sentence_blanks + generation is {total:.6f}, must be 1")
        return self


class PretrainConfig(TrainingConfig):
    """How `mglm train pretrain` trains. The defaults suit a first run on a small machine; configs/large.toml has the
    paper's values."""

    steps: int = Field(default=300, gt=0)
    """Optimiser steps of the whole run."""
    windows_per_sequence: int = Field(default=1, ge=1, le=16)
    """1: a sequence is of one language; n: n draws share it."""
    restart_schedule: bool = False
    """In a run that continues another: warm-up and decay begin anew, counted from there."""
    missing_languages: Literal["refuse", "drop"] = "refuse"
    """What to do about languages that the plan has and the shards have not."""
    isolate_documents: bool = False
    """true: documents that share a row do not see each other (authors: they do)."""
    eval_interval: int | None = Field(default=None, gt=0)
    """With --heldout: steps between evaluations. Unset: at every checkpoint."""
    heldout_documents: int = Field(default=20, gt=0)
    """With --heldout: documents of each language whose bits per byte are measured, the same every time."""
    sample_prompts: int = Field(default=4, ge=0)
    """With --heldout: texts whose blank is filled at every evaluation."""
    sample_tokens: int = Field(default=24, gt=0)
    """Length of that blank, at most."""
    blanks: BlankConfig = BlankConfig()
    """How blanks are cut."""


class FinetuneConfig(TrainingConfig):
    """How `mglm train finetune` trains. Lengths include the special tokens: `source_length` [CLS] and the mask,
    `target_length` the start or end token."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """After warm-up; it decays linearly from there."""
    global_batch_size: int = Field(default=16, gt=0)
    """Rows of one optimiser step, over all processes."""
    epochs: float = Field(default=10.0, gt=0)
    """Passes over the examples; rows of blank infilling do not count."""
    steps: int | None = Field(default=None, gt=0)
    """Optimiser steps, which win over epochs. Unset: as many as the epochs take."""
    source_length: int = Field(default=608, gt=4)
    """Tokens of the prompt with its text, at most."""
    target_length: int = Field(default=160, gt=1)
    """Tokens of the answer, at most."""
    window_stride: int | None = Field(default=None, ge=1)
    """A longer source is read in windows that begin so many tokens apart, and an example draws one of those that hold
    its answer. Unset: it is cut."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing of the loss, that of rows of blank infilling, too."""
    fixed_length: bool = False
    """true: every row is as long as any may be, else as long as its micro-batch needs."""
    sort_batches: int = Field(default=8, gt=0)
    """Steps whose examples are put in order of length together; 1: each alone."""
    freeze_upper_layers: int = Field(default=0, ge=0)
    """Against forgetting (paper §3.4): topmost layers that keep their weights, with the LayerNorm above; 0: none."""
    blank_infilling_share: float = Field(default=0.0, ge=0, lt=1)
    """Against forgetting (paper §3.4): share of the rows that are samples as in pretraining; 0: none."""
    blank_infilling_shards: str | None = None
    """Directory of `mglm tokenizer shard` they are from, of the checkpoint's tokenizer. Unset: there are none."""
    plan: str | None = None
    """plan.json: in which shares their languages come. Unset: there are none."""
    blanks: BlankConfig = BlankConfig()
    """How their blanks are cut."""
    prompt_languages: list[str] = Field(default=[])
    """Languages of which each example draws one for its prompt (paper §5); none: as prepared."""
    trust_remote_code: bool = False
    """Of a model that is not ours: run the code that lies in its directory."""
    eval_interval: int | None = Field(default=None, gt=0)
    """Steps between measurements on dev.jsonl of the examples, where there is one, by generation and the task's scorer;
    the best checkpoint is kept. Unset: at every checkpoint."""
    development_examples: int = Field(default=200, ge=0)
    """Examples of dev.jsonl that are measured, spread over the pairs of languages; 0: nothing is measured."""
    best_by: str | None = None
    """Measure that picks the best. Unset: rougeL, f1 or accuracy, as the task is scored."""

    @model_validator(mode="after")
    def _check_switches(self) -> Self:
        for name in ("blank_infilling_shards", "plan"):
            if self.blank_infilling_share and getattr(self, name) is None:
                raise ValueError(f"blank_infilling_share {self.blank_infilling_share:g} without {name}; set both")
        if len(set(self.prompt_languages)) != len(self.prompt_languages):
            raise ValueError("prompt_languages names a language twice")
        return self
