"""Curves are drawn of whatever a run has recorded, and boards show it without ever ending the run."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import MGLMError
from train import boards
from train.boards import Boards
from train.curves import draw_curves


def record(directory: Path, steps: int) -> Path:
    directory.mkdir()
    rows = [
        {
            "step": step, "samples": 8 * step, "loss": 5 / step if step != 7 else None, "grad_norm": 1 / step,
            "step_s": 0.5, "data_s": 0.01, "save_s": 0.0, "tokens_per_s": 1000.0,
            **({"skipped": "loss nan"} if step in (7, 9) else {}),
            **({"loss_of": {lang: 5 / step + size for size, lang in enumerate("abcdef")}} if step % 10 == 0 else {}),
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip
    events = [
        {"event": "evaluation", "step": 10, "bits_per_byte": score, "macro": 2.0, "languages": {"a": 1.0, "b": 3.0}}
        for score in (1.9, 1.8)  # the second time after a kill
    ]
    events += [{"event": "development", "step": step, "best_by": "rougeL", "score": 0.2} for step in (10, 20)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events))
    return directory


def test_curves_of_several_runs_in_one_picture(tmp_path: Path) -> None:
    runs = [record(tmp_path / "first", 1000), record(tmp_path / "short", 2)]
    draw_curves(runs, tmp_path / "made" / "curves.svg")
    text = (tmp_path / "made" / "curves.svg").read_text("utf-8")
    assert all(
        words in text
        for words in (
            "held-out bits per byte",
            "gradient norm",
            "short",
            "1.8000 bits per byte",
            "best rougeL 0.2000, at step 10",
        )
    )
    draw_curves(runs[:1], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="no such directory"):
        draw_curves([tmp_path / "none"], tmp_path / "a.png")
    with pytest.raises(MGLMError, match=r"no metrics\.jsonl with a row"):
        draw_curves([tmp_path], tmp_path / "a.png")
    with pytest.raises(MGLMError, match=r"one of \.png, \.svg, \.pdf"):
        draw_curves([record(tmp_path / "run", 3)], tmp_path / "a.docx")


def job(output: Path, **settings: Any) -> Any:
    from train.config import PretrainConfig

    return SimpleNamespace(output=output, config=PretrainConfig.model_validate(settings), identity={"a": 1})


def test_tensorboard_shows_every_number_once_however_often_the_run_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Boards(job(tmp_path), 0)
    for step in range(1, 7):
        first.show(step, {"loss": float(step), "loss_of": {"en": 0.5}, "skipped": "words"})
    first.close()
    second = Boards(job(tmp_path), 3)
    second.show(4, {"loss": 44.0})
    second.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(shown.Tags()["scalars"]) == {"loss", "loss_of/en"}
    assert [(event.step, event.value) for event in shown.Scalars("loss")] == [(1, 1), (2, 2), (3, 3), (4, 44)]


def test_without_the_packages_a_run_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    log = SimpleNamespace(info=lambda *words: told.append(words[0]), warning=lambda *words: told.append(words[0]))
    monkeypatch.setattr(boards, "get_logger", lambda name: log)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: None)
    without = Boards(job(tmp_path, wandb=True), 0)
    without.show(1, {"loss": 1.0})
    without.close()
    assert [words.split(":")[0] for words in told] == ["no tensorboard package", "wandb=true, but no wandb package"]


def test_a_full_disk_ends_the_boards_and_not_the_run(tmp_path: Path) -> None:
    shown = Boards(job(tmp_path, tensorboard=False), 0)

    def full(*given: Any) -> None:
        raise OSError("No space left on device")

    shown._tensorboard = SimpleNamespace(add_scalar=full, close=full)
    shown.show(1, {"loss": 1.0})
    assert shown._tensorboard is None
    shown.show(2, {"loss": 1.0})
    shown.close()


def test_a_board_that_nobody_is_logged_in_to_does_not_end_the_run_nor_the_other_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class UsageError(Exception):
        """As W&B's own, which is no OSError."""

    def refuse(**given: Any) -> None:
        raise UsageError("api_key not configured (no-tty)")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse, __spec__=SimpleNamespace()))
    monkeypatch.setattr(boards, "_tensorboard", lambda directory, step: SimpleNamespace())
    opened = Boards(job(tmp_path, wandb=True), 0)
    assert opened._wandb is None
    assert opened._tensorboard is not None
    opened._wandb = SimpleNamespace(log=refuse)
    opened.show(1, {})
    assert opened._wandb is None
    assert opened._tensorboard is not None
