"""The commands: results on stdout as JSON or Markdown, mistakes as MGLMError, and the whole stage in a row."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.errors import MGLMError
from eval.commands import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, MGLMError), result
    assert result.stdout == ""
    message = str(result.exception)
    assert "\n" not in message
    return message


def test_squad_is_scored_on_stdout(tmp_path: Path) -> None:
    qas = [{"id": "1", "answers": [{"text": "in Paris"}]}, {"id": "2", "answers": [{"text": "1998"}]}]
    (tmp_path / "r.json").write_text(json.dumps({"data": [{"paragraphs": [{"qas": qas}]}]}), "utf-8")
    (tmp_path / "p.json").write_text('{"1": "Paris", "2": "1998."}', "utf-8")
    result = run("score", "--task", "squad", "--language", "en", "--references", tmp_path / "r.json",
                 "--predictions", tmp_path / "p.json")  # fmt: skip
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "exact_match": 50, "f1": pytest.approx(100 * (2 / 3 + 1) / 2), "questions": 2, "scorer": "squad",
        "tokenization": "squad", "empty_predictions": 0, "references_in_another_language": 0,
    }  # fmt: skip


def test_rouge_is_scored_on_stdout_from_lines_or_records(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("我爱北京\n天安门\n", "utf-8")
    (tmp_path / "p.txt").write_text("北京\n天安门\n", "utf-8")
    for name in "rp":
        lines = (tmp_path / f"{name}.txt").read_text("utf-8").splitlines()
        rows = [json.dumps({"id": str(number), "text": line}) for number, line in enumerate(lines)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), "utf-8")
    answers = []
    for suffix in ("txt", "jsonl"):
        files = ("--references", tmp_path / f"r.{suffix}", "--predictions", tmp_path / f"p.{suffix}")
        result = run("score", "--task", "rouge", "--language", "zh", *files)
        assert result.exit_code == 0
        answers.append(json.loads(result.stdout))
    assert answers[0] == answers[1]
    assert answers[0]["rouge1"] == pytest.approx((2 * 1 / 4 + 1) / 2)
    assert answers[0]["tokenization"] == "xlsum-jieba"


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("a\n", "utf-8")
    files = ("--references", text, "--predictions", text)
    labels = error_of("score", "--task", "accuracy", "--language", "en", *files)
    assert "--task; found accuracy; expected one of rouge, squad, mlqa" in labels
    assert "one of rouge, squad, mlqa" in error_of("score", "--task", "bleu", *files)
    assert "--language; found none" in error_of("score", "--task", "rouge", *files)
    assert "--language; found klingon" in error_of("score", "--task", "rouge", "--language", "klingon", *files)
    assert "--output DIR" in error_of("score", "--predictions", text)
    assert "--predictions; found nothing" in error_of("score", "--task", "squad")
    assert "--output; found --references too" in error_of("score", *files, "--output", tmp_path / "o")
    for option in ("--task", "--language", "--scorer"):  # a directory would be scored by its own task, these unread
        message = error_of("score", "--predictions", tmp_path, "--output", tmp_path / "o", option, "mlqa")
        assert message.startswith(f"{option} mlqa; found --output")
    assert "no such file" in error_of("score", "--task", "squad", "--references", tmp_path / "x", "--predictions", text)
    assert "did you mean num_beams" in error_of(
        "predict", "--model", "m", "--examples", "e", "--output", tmp_path / "o", "--set", "eval.num_beam=3"
    ).replace("Did", "did")
    assert "Run mglm eval score first" in error_of("report", "--scores", tmp_path / "absent")
    assert not (tmp_path / "o").exists()


def test_from_records_to_a_report(export: Path, tmp_path: Path) -> None:
    rows = [
        {"id": n, "lang": "en", "text": f"The ferry number {n} is late.", "summary_en": "Late.", "summary_zh": "晚点。"}
        for n in range(12)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    small = ("--set", "eval.heldout_share=0.5", "--set", "eval.max_new_tokens=6", "--set", "eval.num_beams=1")
    steps = [
        ("prepare", "--task", "summaries", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "examples", *small),
        ("predict", "--model", export, "--examples", tmp_path / "examples", "--output", tmp_path / "predictions",
         "--limit", 3, *small),
        ("score", "--predictions", tmp_path / "predictions", "--output", tmp_path / "scores", *small),
        ("report", "--scores", tmp_path / "scores", "--output", tmp_path / "report.md"),
    ]  # fmt: skip
    for step in steps * 2:
        result = run(*step)
        assert result.exit_code == 0, (step, result.exception)
        assert result.stdout == ""
    assert run("report", "--scores", tmp_path / "scores").stdout == (tmp_path / "report.md").read_text("utf-8")
    assert "| all languages | all |  | 3 |" in (tmp_path / "report.md").read_text("utf-8")
    page = tmp_path / "report.html"
    assert run("report", "--scores", tmp_path / "scores", "--output", page).exit_code == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert "name a file" in error_of("report", "--scores", tmp_path / "scores", "--output", tmp_path).lower()
