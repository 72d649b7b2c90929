"""Which checkpoints are kept."""

from pathlib import Path

from model.checkpoint_meta import complete_checkpoints
from train.checkpoints import remove_old


def make(root: Path, *steps: int) -> None:
    for step in steps:
        directory = root / f"step-{step:08d}"
        directory.mkdir(parents=True)
        (directory / "meta.json").write_text("{}")


def test_the_newest_are_kept_and_others_files_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, 5, 10, 100, 20)
    (tmp_path / "step-00000001").mkdir()  # incomplete
    (tmp_path / "step-notes").mkdir()
    remove_old(tmp_path, 2)
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["step-00000020", "step-00000100"]
    assert (tmp_path / "step-notes").exists()
    assert (tmp_path / "step-00000001").exists()
