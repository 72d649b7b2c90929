"""The shipped configs are valid; the large one is the paper's run."""

import re
from pathlib import Path

import pytest

from core.config import RunConfig
from core.errors import MGLMError
from model.config import ModelConfig
from train.config import FinetuneConfig, PretrainConfig
from train.job import check_layout, check_schedule

CONFIGS = Path(__file__).parents[2] / "configs"
PAPER_VOCABULARY = 250_112


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path) -> None:
    config = RunConfig(path)
    pretrain = config.section("pretrain", PretrainConfig)
    check_schedule("pretrain", pretrain, pretrain.steps)
    finetune, model = config.section("finetune", FinetuneConfig), config.section("model", ModelConfig)
    assert finetune.source_length <= model.max_positions
    assert finetune.target_length < model.max_positions


def test_the_large_config_is_the_paper_s_run_on_its_64_gpus() -> None:
    config = RunConfig(CONFIGS / "large.toml")
    pretrain, model = config.section("pretrain", PretrainConfig), config.section("model", ModelConfig)
    check_layout("pretrain", pretrain, model, PAPER_VOCABULARY, 64)
    assert model.parameters(PAPER_VOCABULARY) == 1_067_280_384
    assert pretrain.steps * pretrain.global_batch_size * model.sequence_length == 786_432_000_000


@pytest.mark.parametrize(
    ("name", "source", "target", "epochs", "rate"),
    [
        ("ncls", 768, 160, 10, 5e-5),
        ("xwikis", 1025, 160, 20, 5e-5),
        ("short_summaries", 608, 160, 15, 5e-5),
        ("squad", 512, 64, 10, 1e-5),
        ("tydiqa", 512, 64, 40, 1e-5),
        ("mtg", 768, 64, 10, 5e-5),
    ],
)
def test_fine_tuning_configs_are_the_authors(name: str, source: int, target: int, epochs: int, rate: float) -> None:
    path = CONFIGS / f"finetune_{name}.toml"
    config = RunConfig(path).section("finetune", FinetuneConfig)
    found = (config.source_length, config.target_length, config.epochs, config.learning_rate)
    assert found == (source, target, epochs, rate)
    assert (config.label_smoothing, config.min_learning_rate, config.decay_steps) == (0.1, 0, None)  # linear
    values = [line for line in path.read_text("utf-8").splitlines() if "=" in line and not line.startswith("#")]
    assert all(re.search(r"# (paper|code|ours)", line) for line in values)


def test_whole_numbers_do_for_fractions_but_not_the_other_way(tmp_path: Path) -> None:
    assert RunConfig(None, ["pretrain.weight_decay=0"]).section("pretrain", PretrainConfig).weight_decay == 0.0
    with pytest.raises(MGLMError, match="pretrain.steps"):
        RunConfig(None, ["pretrain.steps=1.5"]).section("pretrain", PretrainConfig)
