"""The transfer experiment: which systems, which commands, what the cells mean, and the tables from what was left."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import MGLMError
from core.stage import open_stage
from eval.predictions import FILE_NAME, Prediction
from eval.score import score_directory
from mglm.transfer_page import as_markdown, as_page
from mglm.transfer_results import gather
from mglm.transfer_run import RESULTS_NAME, plan_experiment, variant_of, write_results
from mglm.transfer_stages import Experiment, System, Variant, systems_of, transfer_stages

ROOT = Path(__file__).parents[2]
EN_ZH, FR_ZH, EN_FR, FR_DE = ("en", "zh"), ("fr", "zh"), ("en", "fr"), ("fr", "de")


def experiment(output: Path, **changed: object) -> Experiment:
    systems = systems_of(
        [EN_ZH, FR_ZH], [EN_ZH, EN_FR], [Variant("half rate", ("finetune.learning_rate=1e-4",))], mixed=True
    )
    given = {
        "task": "mtg_en_zh", "inputs": (Path("data"),), "init": Path("pretrain"), "output": output, "systems": systems,
        "evaluated": (EN_ZH, EN_FR), "ask": ("", "tldr"), "shared": ("--config", "c.toml"), "nproc": 2,
    }  # fmt: skip
    return Experiment(**{**given, **changed})  # type: ignore[arg-type]


def test_a_cell_is_one_of_the_paper_s_four_settings() -> None:
    one = System((EN_ZH,))
    assert [one.setting(pair) for pair in (EN_ZH, FR_ZH, EN_FR, FR_DE)] == ["trained", "source", "target", "zero-shot"]
    mixture = System((EN_ZH, FR_DE))
    assert [mixture.setting(pair) for pair in (EN_ZH, EN_FR)] == ["mixed", "outside the mixture"]
    assert System().setting(EN_ZH) == "untuned"


def test_every_system_is_tuned_once_and_asked_everything(tmp_path: Path) -> None:
    given = experiment(tmp_path)
    assert [system.name for system in given.systems] == ["untuned", "en-zh", "fr-zh", "en-zh, half rate", "mixed"]
    stages = transfer_stages(given)
    names = [stage.name for stage in stages]
    assert names.count("train finetune") == 4
    assert names.count("eval predict") == names.count("eval score") == 5 * 2
    assert names.count("eval prepare") == 2 + 3, "two prompts to ask with; en-zh, fr-zh and the mixture to learn from"
    assert len({stage.output for stage in stages}) == len(stages)
    variant = next(stage for stage in stages if stage.output.parent.name == "en-zh+half_rate")
    assert variant.arguments[-2:] == ("--set", "finetune.learning_rate=1e-4")
    asked = next(stage for stage in stages if stage.output.name == "asked-tldr")
    assert asked.arguments[-4:] == ("--set", 'eval.pairs=["en-zh", "en-fr"]', "--set", 'eval.prompt="tldr"')
    made = {stage.output for stage in stages}
    for stage in stages:  # whatever a command reads was made by one before it
        for word in stage.arguments:
            if word.startswith(str(tmp_path)) and Path(word) != stage.output:
                assert Path(word) in made


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("freeze: finetune.freeze_upper_layers=2", Variant("freeze", ("finetune.freeze_upper_layers=2",))),
        ("a b:finetune.seed=1;finetune.steps=3", Variant("a b", ("finetune.seed=1", "finetune.steps=3"))),
    ],
)
def test_variants_are_named_settings(text: str, variant: Variant) -> None:
    assert variant_of(text) == variant


@pytest.mark.parametrize("text", ["freeze", "freeze:", ": finetune.seed=1", "a/b: finetune.seed=1"])
def test_other_forms_of_a_variant_are_refused(text: str) -> None:
    with pytest.raises(MGLMError, match="--variant"):
        variant_of(text)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train": []}, "--train; found no pair"),
        ({"train": [], "mixed": True}, "--train; found no pair"),
        ({"mixed": True}, "--mixed; found en-zh alone"),
        (
            {"train": [], "mixed": True, "evaluate": ["en-zh", "fr-zh"], "variants": [Variant("a", ("eval.seed=1",))]},
            "--variant; found no --train",
        ),
        ({"train": ["en"]}, "a pair of languages"),
        ({"train": ["en-zh", "en-zh"]}, "en-zh twice"),
        ({"task": "nothing"}, "--task"),
        ({"ask": ["nothing"]}, "eval.prompt"),
        ({"inputs": [Path("nowhere")]}, "no such file"),
        ({"variants": [Variant("a", ("finetune.nothing=1",))]}, "finetune.nothing"),
        ({"variants": [Variant("a", ("finetune.seed=1",))] * 2}, "--variant"),
        ({"init": Path("nowhere")}, "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_done(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    step = tmp_path / "pretrain"
    step.mkdir()
    (step / "meta.json").write_text(json.dumps({"schema": "checkpoint/1"}), "utf-8")
    given = {
        "task": "mtg_en_zh", "inputs": [tmp_path], "init": step, "output": tmp_path / "out", "train": ["en-zh"],
        "evaluate": [], "ask": [], "variants": [], "mixed": False, "config": None, "overrides": [], "nproc": None,
    }  # fmt: skip
    assert plan_experiment(**given).evaluated == (EN_ZH,)  # type: ignore[arg-type]
    with pytest.raises(MGLMError, match=words):
        plan_experiment(**{**given, **changed})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def finished(tmp_path: Path) -> Experiment:
    """What the commands of an experiment leave: untuned, the model answers in French, and tuned always in Chinese."""
    answers = {"untuned": "le chat", "en-zh": "猫 坐"}
    given = experiment(tmp_path / "out", systems=(System(), System((EN_ZH,))), ask=("",))
    for number, system in enumerate(given.systems):
        model = given.model(system)
        model.mkdir(parents=True)
        layers = {f"transformer.layers.{layer}.weight": torch.ones(4) * (1 + number * layer) for layer in range(3)}
        save_file(layers, model / "model.safetensors")
        predictions = given.predictions(system, "")
        stage = open_stage(predictions, schema="predictions/1", config={}, inputs={})
        rows = [
            Prediction(id=f"{pair}{row}", lang=pair[0], target_lang=pair[1], reference=reference,
                       prediction=answers[system.name])
            for pair, reference in ((EN_ZH, "猫 坐"), (EN_FR, "le chat"))
            for row in range(2)
        ]  # fmt: skip
        (predictions / FILE_NAME).write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
        stage.finish(facts={"task": {"name": "mtg_en_zh", "kind": "summary", "scorer": "rouge"}})
        score_directory(predictions, given.scores(system, ""), resamples=100)
    tuned = open_stage(given.folder(System((EN_ZH,))) / "finetune", schema="checkpoint/1", config={}, inputs={})
    tuned.finish(facts={"steps": 7})
    taught = open_stage(given.output / "examples" / "en-zh", schema="examples/1", config={}, inputs={})
    taught.finish(counts={"en": {"train": 11}})
    return given


def by_script(text: str) -> frozenset[str]:
    return frozenset({"zh" if "猫" in text else "fr"})


def test_cells_say_how_well_and_in_which_language_it_was_answered(finished: Experiment) -> None:
    results = gather(finished, by_script)
    cells = {(cell["system"], cell["lang"], cell["target_lang"]): cell for cell in results["cells"]}
    assert cells["en-zh", *EN_ZH]["rougeL"] == 1.0
    assert cells["en-zh", *EN_FR]["rougeL"] == 0.0
    assert [cells["en-zh", *EN_FR][name] for name in ("in_asked", "in_trained")] == [0.0, 1.0], "led by no prompt"
    assert [cells["untuned", *EN_FR][name] for name in ("in_asked", "in_trained")] == [1.0, 0.0]
    tuned = results["systems"][1]
    assert (tuned["trained"], tuned["variant"], tuned["steps"], tuned["examples"]) == (["en-zh"], [], 7, 11)
    settings = {(row["system"], row["setting"]): row for row in results["settings"]}
    assert settings["en-zh", "target"]["rouge1"] == 0.0
    assert settings["untuned", "untuned"]["pairs"] == 2
    assert [row["change"] for row in results["weights"]["en-zh"]] == [0.0, 1.0, 2.0]


def test_the_tables_and_the_page_hold_every_cell_and_need_nothing_else(finished: Experiment) -> None:
    page = write_results(finished, by_script)
    results = json.loads((finished.output / RESULTS_NAME).read_text("utf-8"))
    text = page.read_text("utf-8")
    assert text == as_page(results)
    assert text.count("data:image/svg+xml;base64,") == 2, "heat map and weights"
    assert 'src="http' not in text
    tables = as_markdown(results)
    for shown in ("en-zh", "en-fr", "100%", "■", "T", "layer 2", "200.00%", "trained language"):
        assert shown in tables
