"""The road of a small world: which commands, that the detector is made once, and what a row of pretraining is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.config import RunConfig
from core.documents import document_id
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from mglm.world import World, WorldConfig
from mglm.world_run import CONFIG, switches, world_stages
from model.config import ModelConfig
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import STREAM_EXTRA
from tokenizer.train import train_tokenizer
from train.batches import window_length
from train.config import FinetuneConfig, PretrainConfig


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
    for variant in switches(Path("2024; x"), ["qaa", "qab"], 4):
        section = RunConfig(CONFIG, variant.settings).section("finetune", FinetuneConfig)
        assert section != RunConfig(CONFIG).section("finetune", FinetuneConfig), variant.name


def test_a_row_of_pretraining_is_one_whole_document(tmp_path: Path) -> None:
    """Else rows are torn out of two documents, and a title stands apart from its article."""
    run = RunConfig(CONFIG)
    texts = [(one["lang"], one["text"]) for one in World(run.section("world", WorldConfig)).documents()]
    stage = open_stage(tmp_path / "sample", schema=SAMPLE, config={}, inputs={})
    rows = [{"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text} for lang, text in texts]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), tmp_path / "sample" / "part.parquet")
    stage.finish()
    train_tokenizer(tmp_path / "sample", tmp_path / "tokenizer", run.section("tokenizer", TokenizerConfig))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    lengths = {len(ids) + STREAM_EXTRA for ids in tokenizer.encode_batch([text for _, text in texts])}
    window = window_length(run.section("model", ModelConfig).sequence_length, run.section("pretrain", PretrainConfig))
    assert lengths == {window}
