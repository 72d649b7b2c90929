import pytest

from core.config import RunConfig
from core.errors import MGLMError
from model.config import PRESETS, ModelConfig


def test_the_papers_model_has_exactly_its_parameters() -> None:
    large = ModelConfig(preset="large")
    assert large.parameters(250_112) == 1_067_280_384
    assert large.num_layers * large.parameters_per_layer() == 679_956_480
    assert (large.max_positions, large.sequence_length, large.ffn_hidden_size) == (1025, 512, 6144)


def test_explicit_fields_win_over_the_preset_and_the_rest_follows_from_them() -> None:
    config = ModelConfig(preset="base", hidden_size=96, num_attention_heads=6)
    assert (config.num_layers, config.hidden_size, config.ffn_hidden_size) == (PRESETS["base"]["num_layers"], 96, 384)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_dumped_config_reads_back_as_itself(preset: str) -> None:
    config = RunConfig(None, [f"model.preset={preset}", "model.hidden_dropout=0.0"]).section("model", ModelConfig)
    assert ModelConfig.model_validate(config.model_dump()) == config
    assert config.ffn_hidden_size == 4 * config.hidden_size


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.preset=huge", "preset"),
        ("model.hidden_size=130", "no multiple of num_attention_heads"),
        ("model.hidden_size=wide", "hidden_size"),
        ("model.sequence_length=2000", "above max_positions"),
        ("model.layers=3", "num_layers"),
    ],
)
def test_a_mistake_is_refused_by_name(override: str, words: str) -> None:
    with pytest.raises(MGLMError, match=words):
        RunConfig(None, [override]).section("model", ModelConfig)
