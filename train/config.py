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

    global_batch_size: int = Field(default=32, gt=0)  # rows of one optimiser step, over all processes
    micro_batch_size: int = Field(default=8, gt=0)  # rows of one forward pass of one process
    learning_rate: float = Field(default=1e-3, gt=0)
    min_learning_rate: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    decay_steps: int | None = Field(default=None, gt=0)  # step at which min_learning_rate is reached; None: the last
    weight_decay: float = Field(default=0.01, ge=0)  # not on LayerNorm and biases
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.98, ge=0, lt=1)
    adam_eps: float = Field(default=1e-6, gt=0)
    clip: float = Field(default=1.0, ge=0)  # of the global gradient norm; 0 is off
    seed: int = Field(default=1234, ge=0)
    precision: Precision = "fp32"
    tensor_parallel: int = Field(default=1, gt=0)
    pipeline_parallel: int = Field(default=1, gt=0)
    sequence_parallel: bool = False  # with tensor parallelism: splits what lies between the split matrices, too
    virtual_pipeline: int = Field(default=1, gt=0)  # with pipeline parallelism: parts of the model in each stage
    attention: Attention = "auto"
    head_chunk: int = Field(default=1024, gt=0)  # positions that have logits at a time
    recompute: Recompute = "none"  # full: layers keep their input alone; a third more work for a fraction of the memory
    distributed_optimizer: bool = False  # splits the optimiser's state over the data-parallel processes
    save_interval: int = Field(default=1000, gt=0)  # steps between checkpoints; the last step is always saved
    keep_checkpoints: int = Field(default=2, gt=0)  # the newest; older ones are removed, but the best
    prefetch: int = Field(default=2, ge=0)  # steps whose batches are made ahead; 0: each when it is needed
    max_failed_saves: int = Field(default=2, ge=0)  # borne in a row, e.g. on a full disk; one more ends the run
    initial_loss_scale: float = Field(default=65_536.0, ge=1)  # fp16 alone: of the dynamic loss scaling
    loss_scale_window: int = Field(default=1000, gt=0)  # fp16 alone: steps without overflow until the scale doubles
    # A bad step: the loss or the gradient is not finite, or the loss is a spike. Its update is never made.
    on_bad_step: Literal["skip", "stop"] = "skip"  # go on with the next step's data, or end the run
    spike_nats: float = Field(default=2.0, ge=0)  # a loss so far above the median is a spike; 0: none is
    spike_window: int = Field(default=100, gt=1)  # steps the median is taken of, and no spike is seen before
    max_skipped: int = Field(default=10, ge=0)  # bad steps among the last spike_window; one more ends the run
    language_interval: int = Field(default=50, gt=0)  # steps that a row of per-language losses sums up
    tensorboard: bool = True  # writes <output>/tensorboard/ where the package is installed
    wandb: bool = False  # sends metrics to Weights & Biases where it is installed; its own variables configure it
    peak_tflops: float | None = Field(default=None, gt=0)  # of one device, for MFU; None: that of a known GPU

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

    token_blanks: float = Field(default=0.5, ge=0)  # probabilities of the three modes; they sum to 1
    sentence_blanks: float = Field(default=0.3, ge=0)
    generation: float = Field(default=0.2, ge=0)
    blank_share: float = Field(default=0.15, gt=0, lt=1)  # of the tokens, in the first two modes
    mean_span: float = Field(default=3.0, gt=0)  # of the Poisson distribution of token blanks' lengths
    max_span: int = Field(default=39, gt=0)
    min_generation: float = Field(default=0.25, gt=0, lt=1)  # least share of a sample to be generated
    # authors: Latin and Chinese marks alone end sentences, and whole ones are taken until the share is passed
    sentence_ends: Literal["every script", "authors"] = "every script"

    @model_validator(mode="after")
    def _check_modes(self) -> Self:
        total = self.token_blanks + self.sentence_blanks + self.generation
        if abs(total - 1) > 1e-6:
            raise ValueError(f"token_blanks + sentence_blanks + generation is {total:.6f}, must be 1")
        return self


class PretrainConfig(TrainingConfig):
    """The `[pretrain]` section."""

    steps: int = Field(default=300, gt=0)
    windows_per_sequence: int = Field(default=1, ge=1, le=16)  # 1: a sequence is of one language; n: n draws share it
    restart_schedule: bool = False  # a run that continues another: warm-up and decay begin anew, counted from there
    missing_languages: Literal["refuse", "drop"] = "refuse"  # that the plan has and the shards have not
    isolate_documents: bool = False  # True: documents that share a row do not see each other (authors: they do)
    # With --heldout: bits per byte of held-out text, language by language, and blanks of it filled in.
    eval_interval: int | None = Field(default=None, gt=0)  # steps between evaluations; None: at every checkpoint
    heldout_documents: int = Field(default=20, gt=0)  # of each language, the same every time
    sample_prompts: int = Field(default=4, ge=0)  # texts whose blank is filled at every evaluation
    sample_tokens: int = Field(default=24, gt=0)  # length of that blank, at most
    blanks: BlankConfig = BlankConfig()


class FinetuneConfig(TrainingConfig):
    """The `[finetune]` section. `steps`, where given, wins over `epochs`.

    Lengths include the special tokens: `source_length` [CLS] and the mask, `target_length` the start or end token.
    """

    learning_rate: float = Field(default=5e-4, gt=0)
    global_batch_size: int = Field(default=16, gt=0)
    epochs: float = Field(default=10.0, gt=0)  # of the examples; rows of blank infilling do not count
    steps: int | None = Field(default=None, gt=0)
    source_length: int = Field(default=608, gt=4)
    target_length: int = Field(default=160, gt=1)
    # None: a longer source is cut. Else it is read in windows that begin so many tokens apart, and an example draws one
    # of those that hold its answer.
    window_stride: int | None = Field(default=None, ge=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)  # of rows of blank infilling, too
    fixed_length: bool = False  # True: every row is as long as any may be, else as long as its micro-batch needs
    sort_batches: int = Field(
        default=8, gt=0
    )  # steps whose examples are put in order of length together; 1: each alone
    # Against forgetting and the lack of prompt transferring (paper §3.4, §5). Each is off unless set.
    freeze_upper_layers: int = Field(
        default=0, ge=0
    )  # topmost layers that keep their weights, with the LayerNorm above
    blank_infilling_share: float = Field(default=0.0, ge=0, lt=1)  # of the rows: samples as in pretraining
    blank_infilling_shards: str | None = None  # directory of `mglm tokenizer shard`, of the checkpoint's tokenizer
    plan: str | None = None  # plan.json: in which shares its languages come
    blanks: BlankConfig = BlankConfig()
    prompt_languages: list[str] = Field(default=[])  # each example draws one for its prompt; none: as prepared
    trust_remote_code: bool = False  # of a model that is not ours: run the code that lies in its directory
    # Measured on dev.jsonl of the examples, where there is one, by generation and the task's scorer; the best is kept.
    eval_interval: int | None = Field(default=None, gt=0)  # steps between measurements; None: at every checkpoint
    development_examples: int = Field(default=200, ge=0)  # spread over the pairs of languages; 0: nothing is measured
    best_by: str | None = None  # measure that picks the best; None: rougeL, f1 or accuracy, as the task is scored

    @model_validator(mode="after")
    def _check_switches(self) -> Self:
        for name in ("blank_infilling_shards", "plan"):
            if self.blank_infilling_share and getattr(self, name) is None:
                raise ValueError(f"blank_infilling_share {self.blank_infilling_share:g} without {name}; set both")
        if len(set(self.prompt_languages)) != len(self.prompt_languages):
            raise ValueError("prompt_languages names a language twice")
        return self
