"""Tasks are data: ours are sound, a user's is a few lines, and a mistake in one names its field."""

from pathlib import Path

import pytest

from core.errors import MGLMError
from eval.paper import paper_tables
from eval.tasks import find_task, tasks
from tokenizer.prompts import PROMPTS


def test_every_task_of_the_paper_is_there() -> None:
    assert {
        "summaries", "xquad", "mlqa", "tydiqa", "ncls_en2zh", "ncls_zh2en", "mtg_en_zh", "mtg_fr_zh", "mtg_to_en",
        "scisummnet_zh", "scitldr", "xwikis", "isummcorp", "xlsum", "crosssum", "wikilingua", "xnli", "pawsx",
        "summarizer",
    } == set(tasks())  # fmt: skip
    for task in tasks().values():
        assert set(task.choices) == set() or task.kind == "choice"
        assert task.prompt in PROMPTS


def test_protocols_are_the_papers() -> None:
    for name in ("xquad", "mlqa"):
        assert [source.files for source in tasks()[name].sources if source.split == "train"] == [["train-v1.1.json"]]
    assert all(source.only == ["en"] for source in tasks()["tydiqa"].sources if source.split == "train")
    assert tasks()["mtg_fr_zh"].averages[0].without == ["fr"]
    for name in ("scisummnet_zh", "mtg_to_en"):  # evaluated with another task's model
        assert {source.split for source in tasks()[name].sources} == {"heldout"}
    assert {source.part for source in tasks()["summarizer"].sources} >= {"ncls_en2zh", "ncls_zh2en", "xwikis"}


def test_a_users_task_is_a_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "court.toml"
    path.write_text('[court]\nlang_prompt = "x"\n', "utf-8")
    with pytest.raises(MGLMError, match=r"court\.toml, \[court\] (sources|lang_prompt)"):
        find_task(str(path))
    path.write_text('[court]\nsources = [{ split = "by_hash", files = ["*.jsonl"], lang = "de" }]\n', "utf-8")
    task = find_task(str(path))
    assert (task.name, task.prompt, task.scorer, task.decoding) == ("court", "summary", "rouge", None)
    path.write_text(path.read_text("utf-8") + '[other]\nprompt = "tldr"\nsources = [{split = "dev", files = ["a"]}]\n')
    with pytest.raises(MGLMError, match="found 2 tables"):
        find_task(str(path))
    assert find_task(f"{path}:other").prompt == "tldr"
    with pytest.raises(MGLMError, match="found tables court, other"):
        find_task(f"{path}:third")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[t]\nprompt = "haiku"\nsources = [{split = "dev", files = ["a"]}]', "unknown prompt 'haiku'"),
        ('[t]\nsources = [{split = "dev", files = ["a"], reader = "xml"}]', "unknown reader 'xml'"),
        ('[t]\npostprocess = ["upper"]\nsources = [{split = "dev", files = ["a"]}]', "unknown postprocess 'upper'"),
        ('[t]\nkind = "choice"\nsources = [{split = "dev", files = ["a"]}]', "has choices"),
        ('[t]\nsources = [{split = "test", files = ["a"]}]', r"sources\.0\.split; found 'test'"),
        ("[t]\nsources = []", r"\[t\] sources"),
        ('[t]\nreader = "jsonl"\nsources = [{split = "dev", files = ["a"]}]', r"\[t\] reader; found an unknown key"),
        ('[t]\nsources = [{split = "dev", files = ["{lang}{lang}"]}]', r"files '\{lang\}\{lang\}' has a name twice"),
        ('[t]\nsources = [{split = "dev", files = ["{1}"]}]', r"files '\{1\}' has a name twice in braces, or one that"),
        (
            '[t]\nsources = [{split = "dev", files = ["a"], beside = ["{lang}"]}]',
            r"wants \{lang\}, which files 'a' has not",
        ),
        ('[t]\nsources = [{split = "dev", files = ["a"], beside = ["{lang"]}]', r"expected '\}'"),
        ('[t]\nsources = [{split = "dev", files = ["a"], reader = "parallel"}]', "`beside` names the second"),
        ("t = 3", "found no table"),
        ("[t", "expected a TOML file"),
    ],
)
def test_mistakes_in_a_task_name_the_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.toml").write_text(text, "utf-8")
    with pytest.raises(MGLMError, match=message):
        find_task(str(tmp_path / "t.toml"))


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(MGLMError, match="--task; found squat; expected one of summaries, xquad"):
        find_task("squat")
    with pytest.raises(MGLMError, match="No such file"):
        find_task("absent.toml")


def test_the_papers_tables_are_whole_and_name_tasks_that_exist() -> None:
    for table in paper_tables():
        for row in table.rows:
            assert len(row.cells) == len(table.columns)
            assert all(len(cell.split("/")) == len(table.measures) for cell in row.cells)
        for column in table.columns:
            averages = [average.name for average in tasks()[column.task].averages]
            assert column.average in ["", *averages]
