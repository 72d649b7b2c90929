"""Which checkpoints are kept, which is the best, and what a killed process leaves."""

import json
from pathlib import Path

from model.checkpoint_meta import complete_checkpoints, damage
from train.checkpoints import mark_best, put_aside, remove_old, tidy_up


def make(root: Path, *steps: int, **meta: object) -> None:
    for step in steps:
        directory = root / f"step-{step:08d}"
        directory.mkdir(parents=True)
        (directory / "meta.json").write_text(json.dumps({"schema": "checkpoint/1", **meta}))


def names(root: Path) -> list[str]:
    return [path.name for path in complete_checkpoints(root)]


def test_the_newest_are_kept_and_others_files_are_left_alone(tmp_path: Path) -> None:
    make(tmp_path, 5, 10, 100, 20)
    (tmp_path / "step-00000001").mkdir()  # incomplete
    (tmp_path / "step-notes").mkdir()
    remove_old(tmp_path, 2)
    assert names(tmp_path) == ["step-00000020", "step-00000100"]
    assert (tmp_path / "step-notes").exists()
    assert (tmp_path / "step-00000001").exists()


def test_the_best_by_held_out_text_is_linked_and_outlives_newer_ones(tmp_path: Path) -> None:
    make(tmp_path, 1, 9)
    assert mark_best(tmp_path) is None
    for step, score in ((2, 3.0), (3, 1.5), (4, 2.0), (5, 2.5)):
        make(tmp_path, step, heldout_bits_per_byte=score)
    best = mark_best(tmp_path)
    assert best == "step-00000003"
    remove_old(tmp_path, 2, best)
    assert names(tmp_path) == ["step-00000003", "step-00000005", "step-00000009"]
    assert (tmp_path / "best" / "meta.json").exists()
    make(tmp_path, 10, heldout_bits_per_byte=1.0)
    assert mark_best(tmp_path) == (tmp_path / "best").readlink().name == "step-00000010"


def test_bits_of_other_held_out_texts_and_such_as_are_no_number_do_not_make_the_best(tmp_path: Path) -> None:
    make(tmp_path, 1, heldout_bits_per_byte=0.9)  # of an earlier version, which did not say on which texts
    make(tmp_path, 2, heldout_bits_per_byte=0.5, heldout="twenty of each")
    make(tmp_path, 3, heldout_bits_per_byte=float("nan"), heldout="fifty of each")
    for step, bits in ((4, 1.5), (5, 1.0), (6, 1.25)):
        make(tmp_path, step, heldout_bits_per_byte=bits, heldout="fifty of each")
    make(tmp_path, 7, heldout_bits_per_byte=None, heldout="fifty of each")
    assert mark_best(tmp_path) == "step-00000001"
    remove_old(tmp_path, 6)
    assert mark_best(tmp_path) == "step-00000005"
    make(tmp_path, 8, heldout_bits_per_byte=2.0, heldout="twenty of each")
    assert mark_best(tmp_path) == "step-00000002"


def test_the_best_by_the_development_metric_is_the_highest_of_what_can_be_compared(tmp_path: Path) -> None:
    def scored(step: int, score: float, identity: str) -> None:
        make(tmp_path, step, development={"score": score, "identity": identity}, heldout_bits_per_byte=None)

    scored(1, 0.9, "other examples")
    for step, score in ((2, 0.25), (3, 0.5), (4, 0.5), (6, 0.25)):
        scored(step, score, "these examples")
    make(tmp_path, 5, 7, development=None)
    assert mark_best(tmp_path) == "step-00000003"
    scored(8, 0.1, "other examples")
    assert mark_best(tmp_path) == "step-00000001"


def test_what_a_killed_process_was_doing_is_cleared_away_and_what_it_had_done_stays(tmp_path: Path) -> None:
    make(tmp_path, 5)
    for name in (".step-00000006.partial", ".step-00000004.removed", ".step-00000005.replaced"):
        (tmp_path / name).mkdir()
    make(tmp_path / "made", 7)
    (tmp_path / "made" / "step-00000007").rename(tmp_path / ".step-00000007.replaced")  # killed between two renames
    tidy_up(tmp_path)
    assert names(tmp_path) == ["step-00000005", "step-00000007"]
    assert not list(tmp_path.glob(".step-*"))


def test_damage_is_told_by_size_and_by_content(tmp_path: Path) -> None:
    wanted = {"bytes": 7, "sha256": "9b2a7ba8ab3a0c7f2a42c3d0c09e8f6bd1ea2ae28b0c9c1d9cf6b6c64c7bb7e9"}
    make(tmp_path, 5, files={"weights": wanted})
    step = tmp_path / "step-00000005"
    assert damage(step) == "weights missing"
    (step / "weights").write_bytes(b"weigh")
    assert damage(step) == "5 of 7 bytes of weights"
    (step / "weights").write_bytes(b"WEIGHTS")
    assert "another content" in damage(step)
    make(tmp_path, 6, files={})
    assert damage(tmp_path / "step-00000006") == ""
    (step / "meta.json").write_text("{")
    assert "no JSON" in damage(step)


def test_a_damaged_one_is_no_checkpoint_once_it_is_put_aside(tmp_path: Path) -> None:
    for _ in range(2):
        make(tmp_path, 5)
        put_aside(tmp_path / "step-00000005")
        assert names(tmp_path) == []
    assert (tmp_path / "step-00000005.damaged").is_dir()
