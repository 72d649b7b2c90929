"""The states of another model's fine-tuning: the newest and the best stay, and a torn one is none."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from core.errors import MGLMError
from tests.small_disk import files_no_larger_than
from train import peer_loop
from train.peer_state import META, best_state, last_state, load_weights, restore, save_state

SCORES = {3: None, 6: 0.5, 9: 0.75, 12: None, 15: 0.75, 18: 0.25}


def saved(work: Path, step: int, score: float | None) -> dict[str, torch.Tensor]:
    weight = torch.nn.Parameter(torch.full((2, 2), float(step)))
    optimizer = torch.optim.AdamW([weight], lr=0.0)
    weight.sum().backward()
    optimizer.step()
    development = None if score is None else {"score": score, "identity": "same"}
    save_state(work, {"w": weight}, optimizer, {"step": step, "development": development})
    return {"w": weight}


def newest_seen(rank: int, store: str, work: str, others_work: str, told: str) -> None:
    """One of two processes: writes which state it begins from, or why it begins from none."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    if rank:  # what a listing that is behind says
        peer_loop.last_state = lambda directory: directory / "step-00000003"
    try:
        found = peer_loop._newest_state(Path(others_work if rank else work), rank, 2)
        said = found.name if found else "none"
    except MGLMError as error:
        said = str(error)
    Path(f"{told}{rank}").write_text(said, "utf-8")
    dist.destroy_process_group()


@pytest.mark.distributed
def test_all_processes_begin_from_the_state_that_the_first_one_sees(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    work.mkdir()
    other.mkdir()
    saved(work, 3, None)
    saved(work, 6, None)
    saved(other, 3, None)
    for first, second, words in ((work, work, "step-00000006"), (work, other, "none that process 1 sees")):
        told = tmp_path / f"told-{first.name}-{second.name}-"
        given = (str(tmp_path / f"{told.name}store"), str(first), str(second), str(told))
        torch.multiprocessing.spawn(newest_seen, given, nprocs=2)
        assert all(words in Path(f"{told}{rank}").read_text("utf-8") for rank in range(2))


def left(work: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in work.glob("step-*"))


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    kept: list[list[int]] = []
    for step, score in SCORES.items():
        saved(tmp_path, step, score)
        kept.append(left(tmp_path))
    assert kept == [[3], [6], [9], [9, 12], [9, 15], [9, 18]]  # of two as good the first
    best = best_state(tmp_path)
    assert best is not None
    parameters: dict[str, Any] = {"w": torch.nn.Parameter(torch.zeros(2, 2))}
    load_weights(best, parameters)
    assert parameters["w"].tolist() == [[9, 9], [9, 9]]


def test_a_torn_state_is_none_and_the_one_before_goes_on(tmp_path: Path) -> None:
    saved(tmp_path, 6, 0.5)
    torn = tmp_path / "step-00000009"
    torn.mkdir()
    assert last_state(tmp_path) == best_state(tmp_path) == tmp_path / "step-00000006"
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.AdamW([weight], lr=0.0)
    meta = restore(tmp_path / "step-00000006", {"w": weight}, optimizer)
    assert (meta["step"], meta["updates"]) == (6, 1)
    assert weight.tolist() == [[6, 6], [6, 6]]
    assert optimizer.state[weight]["exp_avg"].abs().sum() > 0
    saved(tmp_path, 9, None)
    assert (torn / META).exists()


def test_a_full_disk_is_told_in_a_line_and_costs_no_state(tmp_path: Path) -> None:
    saved(tmp_path, 6, 0.5)
    large = torch.nn.Parameter(torch.zeros(4 << 20))
    with files_no_larger_than(8 << 20), pytest.raises(MGLMError, match="step-00000009.*Make room there") as caught:
        save_state(tmp_path, {"w": large}, torch.optim.AdamW([large]), {"step": 9, "development": None})
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == [6]
    assert last_state(tmp_path) == tmp_path / "step-00000006"


def test_scores_by_another_measure_do_not_count(tmp_path: Path) -> None:
    saved(tmp_path, 3, 0.9)
    weight = torch.nn.Parameter(torch.zeros(1))
    other = {"step": 6, "development": {"score": 0.1, "identity": "another"}}
    save_state(tmp_path, {"w": weight}, torch.optim.AdamW([weight]), other)
    assert left(tmp_path) == [6]
    assert best_state(tmp_path) == tmp_path / "step-00000006"
