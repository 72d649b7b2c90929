"""The road of a small world: which commands, and that the detector is made once."""

from pathlib import Path

from mglm.world_run import CONFIG, switches, world_stages


def test_every_stage_reads_what_one_before_it_makes(tmp_path: Path) -> None:
    stages = world_stages(tmp_path, CONFIG, ["pretrain.steps=3"])
    made: list[Path] = []
    for stage in stages:
        for word in stage.arguments:
            if word.startswith(str(tmp_path)) and Path(word) != stage.output:
                assert any(Path(word).is_relative_to(output) for output in made), (stage.name, word)
        made.append(stage.output)
        assert stage.arguments[-2:] == ("--set", "pretrain.steps=3")


def test_a_finished_detector_is_kept_and_another_config_gets_another(tmp_path: Path) -> None:
    def detector(overrides: list[str]) -> tuple[Path, bool]:
        stage = next(one for one in world_stages(tmp_path, CONFIG, overrides) if one.name == "corpus train-lid")
        return stage.output, "--overwrite" in stage.arguments

    output, overwrites = detector([])
    assert overwrites, "of an unfinished one"
    output.parent.mkdir()
    output.with_suffix(".json").write_text("{}", "utf-8")
    assert detector(["pretrain.steps=3"]) == (output, False)
    assert detector(["world.seed=2"])[0] != output


def test_the_switches_are_fields_of_fine_tuning_whatever_the_folder_is_called() -> None:
    from core.config import RunConfig
    from train.config import FinetuneConfig

    for variant in switches(Path("2024; x"), ["qaa", "qab"], 4):
        section = RunConfig(CONFIG, variant.settings).section("finetune", FinetuneConfig)
        assert section != RunConfig(CONFIG).section("finetune", FinetuneConfig), variant.name
