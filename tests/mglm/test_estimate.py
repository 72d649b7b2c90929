import json
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from core.config import RunConfig
from core.errors import MGLMError
from mglm.cli import app
from mglm.coefficients import Range, coefficients
from mglm.estimate import DataConfig, Estimate, estimate
from mglm.estimate_config import EstimateConfig
from mglm.estimate_page import markdown, number
from model.config import ModelConfig
from train.config import PretrainConfig

ROOT = Path(__file__).parents[2]
VOCABULARY = 250_112
DATA = DataConfig(sample_bytes=1_000_000_000, training_bytes=500_000_000, vocabulary_threads=4)
PAPER = RunConfig(ROOT / "configs" / "large.toml")
MODEL, PRETRAIN = PAPER.section("model", ModelConfig), PAPER.section("pretrain", PretrainConfig)


def estimated(**changed: object) -> Estimate:
    given = PAPER.section("estimate", EstimateConfig).model_dump() | changed
    return estimate(EstimateConfig.model_validate(given), MODEL, PRETRAIN, DATA, VOCABULARY)


def test_the_papers_run_is_what_is_known_of_it() -> None:
    made = estimated()
    assert made.drawn_tokens == 600_000 * 2_560 * 512  # the paper: about 800 thousand million
    assert 1.05e9 < made.parameters < 1.07e9 * 1.01  # the paper: 1.06
    assert made.flops / (6 * made.parameters * made.drawn_tokens) == pytest.approx(0.75, abs=0.15)  # the usual rule
    chosen = next(layout for layout in made.layouts if (layout.tensor, layout.pipeline) == (1, 1))
    assert chosen.data == 64
    assert chosen.fits


def test_twice_the_crawl_is_twice_the_work_of_the_corpus_and_the_same_training() -> None:
    one, two = estimated(crawl_tb=10.0), estimated(crawl_tb=20.0)
    for before, after in zip(one.stages, two.stages, strict=True):
        grows = before.name in ("corpus build", "balancing sample", "eval contamination")
        assert after.core_hours.high == pytest.approx(before.core_hours.high * (2 if grows else 1))
        assert after.gpu_hours == before.gpu_hours


def test_more_machines_take_less_time_for_as_many_hours() -> None:
    few, many = estimated(gpus=32, spark_cores=256), estimated(gpus=64, spark_cores=512)
    for slow, fast in zip(few.stages, many.stages, strict=True):
        if slow.name != "tokenizer train":
            assert fast.days.high < slow.days.high
        assert fast.core_hours == slow.core_hours


def test_ranges_are_ranges_and_utilisation_decides_the_days() -> None:
    made = estimated()
    for stage in made.stages:
        for amount in (stage.core_hours, stage.gpu_hours, stage.days, stage.disk, stage.scratch, stage.network):
            assert 0 <= amount.low <= amount.high
    measured = estimated(mfu_low=0.4, mfu_high=0.4)
    ideal_days = made.flops / (64 * 0.4 * 312e12) / 86_400
    days = measured.layouts[0].days
    assert ideal_days <= days.low <= days.high <= 1.5 * ideal_days


def test_money_is_counted_only_where_there_are_prices() -> None:
    assert estimated().euros is None
    priced = estimated(eur_per_gpu_hour=2.0)
    gpu_hours = priced.stages[-1].gpu_hours
    assert priced.euros == gpu_hours.times(2.0)
    dearer = estimated(eur_per_gpu_hour=2.0, eur_per_tb_month=10.0).euros
    assert dearer is not None
    assert priced.euros is not None
    assert dearer.low > priced.euros.low


def test_a_model_too_large_for_a_gpu_says_so() -> None:
    huge = ModelConfig(preset="xxl")
    config = EstimateConfig(gpu="a100-40gb")
    made = estimate(config, huge, PRETRAIN, DATA, VOCABULARY)
    assert not next(layout for layout in made.layouts if layout.tensor == layout.pipeline == 1).fits
    assert "too much" in markdown(made, config)


def test_mistakes_are_named() -> None:
    with pytest.raises(MGLMError, match=r"7 GPUs.*estimate\.gpus=4, "):
        estimated(gpus=7)
    small = ModelConfig(), PretrainConfig(global_batch_size=12, micro_batch_size=8)
    with pytest.raises(MGLMError, match="Change pretrain"):
        estimate(EstimateConfig(), *small, DATA, VOCABULARY)
    for wrong in ({"gpu": "b300"}, {"mfu_low": 0.4}, {"mfu_low": 0.5, "mfu_high": 0.4}):
        with pytest.raises(ValidationError):
            EstimateConfig.model_validate(wrong)


def test_every_coefficient_names_its_origin_and_holds_what_was_measured() -> None:
    for name, coefficient in coefficients().items():
        assert coefficient.low <= coefficient.high, name
        assert coefficient.record or coefficient.source, name
        if coefficient.record:
            record = json.loads((ROOT / "benchmarks" / "results" / f"{coefficient.record}.json").read_text("utf-8"))
            measured = record["figures"][coefficient.figure]
            assert coefficient.low <= measured <= coefficient.high, (name, measured)


def test_the_document_is_what_the_command_prints() -> None:
    """To renew it: put the output of the command between its marks."""
    text = (ROOT / "docs" / "estimate.md").read_text("utf-8")
    command = text.split("<!-- mglm ")[1].split(" -->")[0]
    assert " ".join(command.split()) in " ".join(text.split("-->", 1)[1].replace("\\\n", " ").split())  # as shown
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in shlex.split(command)]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0, printed.output
    assert text.split("<!-- output -->\n")[1].split("<!-- end -->")[0].strip() == printed.stdout.strip()


def test_without_a_config_it_is_the_papers_run() -> None:
    runner, given = CliRunner(), ["--config", str(ROOT / "configs" / "large.toml")]
    plain = runner.invoke(app, ["estimate"])
    assert plain.exit_code == 0, plain.output
    assert plain.stdout == runner.invoke(app, ["estimate", *given]).stdout


def test_quotients_of_ranges_are_the_widest() -> None:
    assert Range(2, 6).over(Range(1, 3)) == Range(2 / 3, 6)
    assert Range(2, 6).times(2.0).plus(Range(1, 1)) == Range(5, 13)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "–"), (0.0944, "0.094"), (9.94, "9.9"), (14_832, "15,000"), (1.0, "1.0")]
)
def test_numbers_have_the_two_digits_they_are_worth(value: float, shown: str) -> None:
    assert number(value) == shown
