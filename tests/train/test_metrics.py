"""metrics.jsonl continues where the checkpoint stands."""

from pathlib import Path

from train.metrics import MetricsLog, read_metrics


def test_rows_after_the_checkpoint_are_dropped_on_resuming(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsLog(path, 0)
    for step in range(1, 8):
        first.append({"step": step, "loss": 8.0 - step})
    first.close()
    second = MetricsLog(path, 5)
    second.append({"step": 6, "loss": 0.5})
    second.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4, 5, 6]
    assert read_metrics(path)[-1]["loss"] == 0.5


def test_a_line_cut_by_a_kill_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    log = MetricsLog(path, 2)
    log.append({"step": 2, "loss": 1.0})
    log.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2]
