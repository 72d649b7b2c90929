"""`mglm estimate`: what a whole run takes, before anything is rented: cores, GPUs, days, disk, network, euros.

From the configuration, the size of the crawl and the machines. Exact where arithmetic is (parameters, memory of states,
bytes of checkpoints, operations); ranges where the coefficients are (mglm/coefficients.toml, each with its source).
"""

from dataclasses import dataclass

from core.errors import MGLMError
from mglm.coefficients import Range, coefficients
from mglm.estimate_config import EstimateConfig
from model.config import ModelConfig
from model.describe import describe
from model.scaling import Cluster, step_time
from model.topology import Topology
from train.blank_infilling import row_length
from train.config import PretrainConfig
from train.dry_run import checkpoint_bytes

HOUR_S, DAY_S, MONTH_DAYS = 3600.0, 86_400.0, 30.0
CLS_AND_EOS = 2  # tokens that a document has beyond its text's
TOKEN_BYTES = 4  # int32
VOCABULARY_BYTES = 10e6  # 250,000 pieces; SentencePiece's file has 4.5 MB
LAYOUTS = ((1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (1, 4))  # tensor × pipeline; data parallelism takes the rest


@dataclass(frozen=True)
class DataConfig:
    """What [balancing] and [tokenizer] say of the data road: bytes of the sample and of the vocabulary's text."""

    sample_bytes: int
    training_bytes: int
    vocabulary_threads: int


@dataclass(frozen=True)
class StageCost:
    """What a stage takes. In bytes: `disk`, what it leaves; `scratch`, what it needs besides while it runs; `network`,
    what passes where storage is remote. `days` on all cores or GPUs."""

    name: str
    core_hours: Range
    gpu_hours: Range
    days: Range
    disk: Range
    scratch: Range
    network: Range
    basis: str


@dataclass(frozen=True)
class Layout:
    """One way to split the model over the GPUs: days of training, memory, bytes over the network, as all GPUs send."""

    tensor: int
    pipeline: int
    data: int
    days: Range
    memory_bytes: int
    fits: bool
    bytes_sent: float


@dataclass(frozen=True)
class Estimate:
    """The whole of it. Tokens count positions of training sequences; `euros` None without prices."""

    text_bytes: Range
    corpus_tokens: Range
    drawn_tokens: int
    parameters: int
    flops: float
    stages: list[StageCost]
    layouts: list[Layout]
    euros: Range | None


def estimate(
    config: EstimateConfig, model: ModelConfig, pretrain: PretrainConfig, data: DataConfig, vocab_size: int
) -> Estimate:
    """Reckons everything. `vocab_size` counts rows, padding included.

    Raises:
        MGLMError: no layout of the model fits the number of GPUs.
    """
    known = {name: coefficient.range for name, coefficient in coefficients().items()}
    crawl = config.crawl_tb * 1e12
    text = known["text_bytes_per_crawl_byte"].times(crawl)
    documents = text.over(known["text_bytes_per_document"])
    tokens = text.over(known["text_bytes_per_token"]).plus(documents.times(CLS_AND_EOS))
    drawn = pretrain.steps * pretrain.global_batch_size * model.sequence_length
    layouts = possible_layouts(config, model, pretrain, vocab_size)
    if not layouts:
        raise _no_layout(config, model, pretrain, vocab_size)
    trained = training_stage(config, model, pretrain, vocab_size, chosen_layout(layouts, pretrain))
    stages = [*corpus_stages(config, data, known, text, documents, drawn), trained]
    rows = padded_rows(model, pretrain)
    described = describe(rows, vocab_size, Topology(), 1, pretrain.execution())
    return Estimate(
        text_bytes=text,
        corpus_tokens=tokens,
        drawn_tokens=drawn,
        parameters=described.parameters,
        flops=float(described.flops_per_token) * drawn / model.sequence_length * rows.sequence_length,
        stages=stages,
        layouts=layouts,
        euros=euros(config, stages),
    )


def corpus_stages(
    config: EstimateConfig, data: DataConfig, known: dict[str, Range], text: Range, documents: Range, drawn: int
) -> list[StageCost]:
    """The data road, from crawl to shards; the sample and the vocabulary have sizes of their own."""
    crawl = Range.exactly(config.crawl_tb * 1e12)
    stored = text.times(known["documents_bytes_per_text_byte"])
    parts = text.times(known["scratch_bytes_per_text_byte"])
    nothing = Range.exactly(0)
    sample = known["sample_bytes_per_text_byte"].times(data.sample_bytes)
    hashes = documents.times(known["hash_bytes_per_document"])
    # What training draws: all of the small languages, of the large ones as far as the budget goes.
    tokenized = Range(*(min(drawn, limit) for limit in text.over(known["text_bytes_per_token"])))
    tokenized_text = tokenized.times(known["text_bytes_per_token"])
    shards = tokenized.times(TOKEN_BYTES).times(known["shard_bytes_per_token_byte"])
    return [
        spark_stage(config, "corpus build", crawl.over(known["build_bytes_per_core_s"]), stored, parts,
                    crawl.plus(parts.times(2)).plus(stored),  # read, parts written and read again, documents written
                    "detection, cleaning, exact and near-duplicates"),
        spark_stage(config, "balancing sample", documents.over(known["sample_documents_per_core_s"]), sample, nothing,
                    hashes.plus(sample), "reads hash and size of every document"),
        vocabulary_stage(data, known, sample),
        spark_stage(config, "tokenizer shard", tokenized_text.over(known["shard_bytes_per_core_s"]), shards, nothing,
                    hashes.plus(tokenized_text.times(known["documents_bytes_per_text_byte"])).plus(shards),
                    "with --budget-tokens: what training draws"),
        spark_stage(config, "eval contamination", text.over(known["contamination_bytes_per_core_s"]), nothing, nothing,
                    stored, "searches every training document"),
    ]  # fmt: skip


def spark_stage(
    config: EstimateConfig, name: str, core_s: Range, disk: Range, scratch: Range, network: Range, basis: str
) -> StageCost:
    core_hours = core_s.over(HOUR_S)
    days = core_hours.over(24.0 * config.spark_cores)
    return StageCost(name, core_hours, Range.exactly(0), days, disk, scratch, network, basis)


def vocabulary_stage(data: DataConfig, known: dict[str, Range], sample: Range) -> StageCost:
    """One machine, whatever the corpus: its training text is bounded."""
    hours = Range.exactly(data.training_bytes).over(known["vocabulary_bytes_per_s"]).over(HOUR_S)
    return StageCost(
        name="tokenizer train",
        core_hours=hours.times(Range(1, data.vocabulary_threads)),
        gpu_hours=Range.exactly(0),
        days=hours.over(24.0),
        disk=Range.exactly(VOCABULARY_BYTES),
        scratch=Range.exactly(0),
        network=sample,
        basis="one machine; its text is bounded",
    )


def training_stage(
    config: EstimateConfig, model: ModelConfig, pretrain: PretrainConfig, vocab_size: int, made: Layout
) -> StageCost:
    """Pretraining at one layout."""
    kept = pretrain.keep_checkpoints + 2  # the best, and the one being written
    checkpoint = checkpoint_bytes(
        model.parameters(vocab_size), pretrain.precision, distributed=pretrain.distributed_optimizer
    )
    saves = pretrain.steps // pretrain.save_interval
    read = pretrain.steps * pretrain.global_batch_size * model.sequence_length * TOKEN_BYTES
    return StageCost(
        name="train pretrain",
        core_hours=Range.exactly(0),
        gpu_hours=made.days.times(24.0 * config.gpus),
        days=made.days,
        disk=Range.exactly(kept * checkpoint),
        scratch=Range.exactly(0),
        network=Range.exactly(made.bytes_sent + read + saves * checkpoint),
        basis=f"tensor {made.tensor} × pipeline {made.pipeline} × data {made.data}, {pretrain.steps:,} steps",
    )


def possible_layouts(
    config: EstimateConfig, model: ModelConfig, pretrain: PretrainConfig, vocab_size: int
) -> list[Layout]:
    """Those of LAYOUTS that divide model, batch and GPUs."""
    made = (layout(config, model, pretrain, vocab_size, tensor, pipeline) for tensor, pipeline in LAYOUTS)
    return [one for one in made if one is not None]


def _no_layout(config: EstimateConfig, model: ModelConfig, pretrain: PretrainConfig, vocab_size: int) -> MGLMError:
    """The error, with the number of GPUs that would do: a small config meets the paper's 64 by default."""
    action = "change pretrain.global_batch_size or pretrain.micro_batch_size"
    for gpus in range(config.gpus - 1, 0, -1):
        if possible_layouts(config.model_copy(update={"gpus": gpus}), model, pretrain, vocab_size):
            action = f"use --set estimate.gpus={gpus}, the most below that fit, or {action}"
            break
    return MGLMError(
        f"{config.gpus} GPUs",
        found=f"global_batch_size {pretrain.global_batch_size} in micro-batches of {pretrain.micro_batch_size}",
        expected="whole micro-batches for every GPU, under some split of the model",
        action=action,
    )


def layout(
    config: EstimateConfig, model: ModelConfig, pretrain: PretrainConfig, vocab_size: int, tensor: int, pipeline: int
) -> Layout | None:
    """A layout on all GPUs; None where the numbers do not divide."""
    topology = Topology(tensor=tensor, pipeline=pipeline)
    data, rest = divmod(config.gpus, tensor * pipeline)
    rows = pretrain.micro_batch_size * data
    if rest or not data or pretrain.global_batch_size % rows:
        return None
    sizes = {"micro_batch": pretrain.micro_batch_size, "global_batch": pretrain.global_batch_size}
    execution = pretrain.execution()
    model = padded_rows(model, pretrain)
    try:
        described = describe(model, vocab_size, topology, data, execution, **sizes)
    except MGLMError:
        return None
    mfu = coefficients()["mfu"].range
    if config.mfu_low is not None and config.mfu_high is not None:
        mfu = Range(config.mfu_low, config.mfu_high)
    seconds = []
    for utilisation, hidden in ((mfu.high, 1.0), (mfu.low, 0.0)):
        cluster = Cluster(
            utilisation * config.peak_flops,
            config.nvlink_bytes_s,
            config.network_gb_s * 1e9,
            config.gpus_per_node,
            hidden,
        )
        seconds.append(step_time(model, vocab_size, topology, data, execution, cluster, **sizes).seconds)
    sent = (
        described.data_parallel_bytes_sent
        + described.tensor_parallel_bytes_sent
        + described.pipeline_parallel_bytes_sent
    )
    memory = described.bytes_per_rank
    if not pretrain.distributed_optimizer:
        memory += described.optimizer_bytes_per_rank - described.optimizer_bytes_per_rank_distributed
    return Layout(
        tensor=tensor,
        pipeline=pipeline,
        data=data,
        days=Range(*seconds).times(pretrain.steps / DAY_S),
        memory_bytes=memory,
        fits=memory <= config.memory_bytes,
        bytes_sent=float(sent) * pretrain.steps * config.gpus,
    )


def padded_rows(model: ModelConfig, pretrain: PretrainConfig) -> ModelConfig:
    """The model on rows as long as they are: masks and starts of blanks have room beside the text."""
    return model.model_copy(update={"sequence_length": row_length(model.sequence_length, pretrain.blanks)})


def chosen_layout(layouts: list[Layout], pretrain: PretrainConfig) -> Layout:
    """That of the configuration where it is among them, else the fastest that fits the memory, else the leanest."""
    for made in layouts:
        if (made.tensor, made.pipeline) == (pretrain.tensor_parallel, pretrain.pipeline_parallel):
            return made
    fitting = [made for made in layouts if made.fits]
    return (
        min(fitting, key=lambda made: made.days.high) if fitting else min(layouts, key=lambda made: made.memory_bytes)
    )


def euros(config: EstimateConfig, stages: list[StageCost]) -> Range | None:
    """Of everything, at the prices given; what has no price costs nothing. Storage is held until training ends."""
    prices = (config.eur_per_core_hour, config.eur_per_gpu_hour, config.eur_per_tb_month)
    if all(price is None for price in prices):
        return None
    per_core, per_gpu, per_tb = (price or 0.0 for price in prices)
    total, days, disk = Range.exactly(0), Range.exactly(0), Range.exactly(config.crawl_tb * 1e12)
    for stage in stages:
        total = total.plus(stage.core_hours.times(per_core)).plus(stage.gpu_hours.times(per_gpu))
        days, disk = days.plus(stage.days), disk.plus(stage.disk)
    return total.plus(disk.over(1e12).times(days.over(MONTH_DAYS)).times(per_tb))
