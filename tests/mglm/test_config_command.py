"""`mglm config` prints a config file that changes nothing, in which every field is explained."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.config import SECTIONS, RunConfig, Section
from core.errors import MGLMError
from eval.config import EvalConfig
from mglm.cli import app
from mglm.config_page import UNSET, meanings
from mglm.sections import SECTION_MODELS
from model.config import PRESETS, ModelConfig, authors_shape


@cache
def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["config", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def tables(name: str, section: Section) -> list[tuple[str, Section]]:
    inner = [(f"{name}.{field}", value) for field, value in section if isinstance(value, Section)]
    return [(name, section), *(each for name, value in inner for each in tables(name, value))]


ALL_TABLES = [each for name, model in SECTION_MODELS.items() for each in tables(name, model())]


@pytest.mark.parametrize("name", SECTIONS)
def test_the_printed_file_gives_the_defaults(name: str, tmp_path: Path) -> None:
    whole, alone = tmp_path / "whole.toml", tmp_path / "alone.toml"
    whole.write_text(printed(), "utf-8")
    alone.write_text(printed(name), "utf-8")
    for path in (whole, alone):
        assert RunConfig(path).section(name, SECTION_MODELS[name]) == SECTION_MODELS[name]()
    assert set(RunConfig(whole).tables) == set(SECTIONS) == set(SECTION_MODELS)
    assert set(RunConfig(alone).tables) == {name}


@pytest.mark.parametrize(("name", "section"), ALL_TABLES, ids=[name for name, _ in ALL_TABLES])
def test_every_field_stands_there_with_its_meaning(name: str, section: Section) -> None:
    lines = printed(name.partition(".")[0]).splitlines()
    lines = lines[lines.index(f"[{name}]") :]
    told = meanings(type(section))
    assert list(told) == list(type(section).model_fields)
    for field, value in section:
        assert told[field].endswith((".", "…")), field
        if isinstance(value, Section):
            assert f"[{name}.{field}]" in lines
        else:
            commented = value is None or UNSET in told[field]
            assert any(line.startswith(f"{'# ' * commented}{field} = ") for line in lines), field
        if value is None:
            assert f"{UNSET}: " in told[field] or f"{UNSET}, " in told[field], field


def test_bounds_choices_and_defaults_are_shown() -> None:
    pretrain = printed("pretrain")
    assert (
        "\n# Rows of one optimiser step, over all processes. [whole number > 0]\nglobal_batch_size = 32\n" in pretrain
    )
    assert "[number ≥ 0, < 1]\nadam_beta1 = 0.9\n" in pretrain
    assert '["skip" | "stop"]\non_bad_step = "skip"\n' in pretrain
    assert (
        "# Step at which min_learning_rate is reached. Unset: the last. [whole number > 0]\n# decay_steps = …"
        in pretrain
    )
    assert "[list of 2 whole numbers]\nsnippet_characters = [20, 400]" in printed("lid")


def test_what_a_task_or_a_preset_decides_is_not_written_out(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(printed(), "utf-8")
    run = RunConfig(path, ["model.preset=large"])
    assert run.section("model", SECTION_MODELS["model"]) == SECTION_MODELS["model"](preset="large")
    assert authors_shape(RunConfig(path)) == ModelConfig(**(PRESETS["large"] | {"preset": "large"}))
    assert authors_shape(RunConfig(path, ["model.num_layers=2"])).hidden_size == PRESETS["tiny"]["hidden_size"]
    decoding = RunConfig(path).section("eval", EvalConfig).decoding({"num_beams": 7, "max_new_tokens": 9})
    assert (decoding["num_beams"], decoding["max_new_tokens"]) == (7, 9)


def test_printing_loads_no_library_of_a_stage() -> None:
    heavy = "{'torch', 'pyspark', 'megatron', 'transformers', 'pyarrow', 'numpy'}"
    words = "from mglm.config_page import config_page; from mglm.sections import SECTION_MODELS"
    code = f"import sys; {words}; config_page(SECTION_MODELS); print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_section_names_the_known_ones() -> None:
    with pytest.raises(MGLMError, match="unknown key.*spark, corpus, lid.*Did you mean pretrain"):
        CliRunner().invoke(app, ["config", "pretrian"], catch_exceptions=False)
