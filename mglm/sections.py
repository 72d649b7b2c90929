"""All sections of a config file and what each holds. Light: imports no library of a stage."""

from pydantic import Field

from balancing.config import BalancingConfig
from core.config import Section
from core.spark import SparkConfig
from corpus.config import CorpusConfig
from corpus.lid_config import LidConfig
from eval.config import EvalConfig
from mglm.estimate_config import EstimateConfig
from mglm.world import WorldConfig
from model.config import ModelConfig
from model.summarize_config import SummarizeConfig
from serve.config import ServeConfig
from tokenizer.config import TokenizerConfig
from train.config import FinetuneConfig, PretrainConfig


class DemoConfig(Section):
    """How `mglm demo` trains."""

    processes: int = Field(default=2, ge=1)
    """How many torchrun workers train; configs/demo.toml splits the model over as many."""


SECTION_MODELS: dict[str, type[Section]] = {
    "spark": SparkConfig,
    "corpus": CorpusConfig,
    "lid": LidConfig,
    "balancing": BalancingConfig,
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "eval": EvalConfig,
    "summarize": SummarizeConfig,
    "serve": ServeConfig,
    "demo": DemoConfig,
    "estimate": EstimateConfig,
    "world": WorldConfig,
}
