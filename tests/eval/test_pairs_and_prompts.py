"""Examples of chosen pairs of languages alone, and asked with another prompt than the task's."""

import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.examples import Example, read_examples
from core.manifest import read_manifest
from eval.config import EvalConfig
from eval.prepare import prepare
from eval.summaries import NAME as SUMMARIES

TASK = """
[court]
prompt = "headnote"
mask = "[MASK]"
sources = [{ split = "heldout", files = ["rulings.jsonl"] }]
[court.prompts.headnote]
de = "Leitsatz: {mask} Urteil: {text}"
fr = "Sommaire : {mask} Arrêt : {text}"
"""


@pytest.fixture
def court(tmp_path: Path) -> Path:
    pairs = [("de", "de"), ("de", "fr"), ("fr", "de"), ("it", "de")]
    rows = [
        {"id": f"{a}{b}", "lang": a, "target_lang": b, "text": f"text {a}", "target": f"note {b}"} for a, b in pairs
    ]
    (tmp_path / "rulings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "court.toml").write_text(TASK, "utf-8")
    return tmp_path


def made(court: Path, config: EvalConfig) -> list[Example]:
    prepare(str(court / "court.toml"), [court / "rulings.jsonl"], court / "examples", config)
    return list(read_examples(court / "examples" / "heldout.jsonl"))


def said(example: Example) -> str:
    return "".join(part.value for part in example.source)


def test_a_task_s_own_prompts_go_by_the_target_language(court: Path) -> None:
    assert [said(one) for one in made(court, EvalConfig())] == [
        "Leitsatz: [MASK] Urteil: text de", "Sommaire : [MASK] Arrêt : text de",
        "Leitsatz: [MASK] Urteil: text fr", "Leitsatz: [MASK] Urteil: text it",
    ]  # fmt: skip


def test_other_pairs_are_left_out_and_counted(court: Path) -> None:
    assert [one.id for one in made(court, EvalConfig(pairs=["de-fr", "it-de"]))] == ["de-fr:defr", "it-de:itde"]
    manifest = read_manifest(court / "examples", "examples/1")
    assert manifest.facts["records_left_out"] == 2
    assert manifest.config["pairs"] == ["de-fr", "it-de"]


def test_pairs_that_no_record_has_are_named_as_the_reason(court: Path) -> None:
    with pytest.raises(MGLMError, match=r"4 records, all left out; expected some taken. Look at eval.pairs"):
        made(court, EvalConfig(pairs=["de-en"]))
    assert not (court / "examples").exists()


def test_another_prompt_is_asked_with_its_own_mask_or_the_task_s(court: Path) -> None:
    assert (
        said(made(court, EvalConfig(prompt="named_summary", pairs=["it-de"]))[0]) == "text it. German Summary: [MASK]"
    )


def test_a_task_may_call_a_language_by_another_code_than_ours(court: Path) -> None:
    row = {"id": "1", "lang": "he", "text": "text", "target": "note"}
    (court / "rulings.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    task = TASK.replace("de =", "he =").replace('.jsonl"]', '.jsonl"], only = ["he"], target_lang = "he"')
    (court / "court.toml").write_text(task, "utf-8")
    (one,) = made(court, EvalConfig(pairs=["he-he"]))
    assert (one.lang, one.target_lang, said(one)) == ("iw", "iw", "Leitsatz: [MASK] Urteil: text")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"prompt": "nothing"}, "eval.prompt; found nothing"),
        ({"pairs": ["de"]}, "a pair of languages"),
        ({"prompt": "question"}, "prompt .*names in braces|prompt"),
    ],
)
def test_what_cannot_be_asked_is_refused(court: Path, config: dict[str, object], words: str) -> None:
    with pytest.raises(MGLMError, match=words):
        made(court, EvalConfig(**config))  # type: ignore[arg-type]
    assert not (court / "examples").exists()


def test_the_demo_s_task_takes_neither(court: Path) -> None:
    with pytest.raises(MGLMError, match=r"eval\.pairs"):
        prepare(SUMMARIES, [court / "rulings.jsonl"], court / "examples", EvalConfig(pairs=["de-fr"]))


def test_the_demo_s_task_is_the_only_one_of_its_name(court: Path) -> None:
    (court / "court.toml").write_text(TASK.replace("[court", f"[{SUMMARIES}"), "utf-8")
    with pytest.raises(MGLMError, match="found a task called summaries; expected another name"):
        made(court, EvalConfig())
