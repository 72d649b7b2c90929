"""Which checkpoints stay, which is the best, and which one `--init` means. Light: imports no torch."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.manifest import read_manifest
from model.checkpoint_meta import CHECKPOINT, META_NAME, complete_checkpoints, locate_checkpoint, read_meta

BEST = "best"  # a link beside the step directories
_REMOVED = ".removed"
_PARTIAL, _REPLACED = ".partial", ".replaced"  # as model.checkpoint names them


def remove_old(root: Path, keep: int, best: str | None = None) -> None:
    """Removes all but the newest `keep` checkpoints and that of the name `best`.

    Each gets another name first, so that none looks complete while it goes.
    """
    for path in complete_checkpoints(root)[:-keep]:
        if path.name != best:
            shutil.rmtree(path.rename(root / f".{path.name}{_REMOVED}"), ignore_errors=True)


def tidy_up(root: Path) -> None:
    """Clears away what a killed process was writing or removing. Only where no process is at work."""
    for path in root.glob(f".step-*{_REPLACED}"):
        whole = root / path.name.removeprefix(".").removesuffix(_REPLACED)
        if not whole.exists():
            path.rename(whole)
    for suffix in (_REPLACED, _PARTIAL, _REMOVED):
        for path in root.glob(f".step-*{suffix}"):
            shutil.rmtree(path, ignore_errors=True)


def mark_best(root: Path) -> str | None:
    """Lets `root/best` point to the best checkpoint, as `best_of` has it; None when none was measured."""
    best = best_of([(read_meta(path), path.name) for path in complete_checkpoints(root)])
    if best is None:
        return None
    link = root / f".{BEST}.tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(best)
    link.rename(root / BEST)
    return best


def best_of(metas: Sequence[tuple[Mapping[str, Any], str]]) -> str | None:
    """The name of the best of some (meta, name), the newest last; the earlier one of two alike; None when none was
    measured.

    Best is the highest score on the development examples, or else the fewest held-out bits per byte. Scores on other
    examples or texts, or of another measure, than the newest cannot be compared and do not count.
    """
    developed = [(meta["development"], name) for meta, name in metas if meta.get("development")]
    if developed:
        same = developed[-1][0]["identity"]
        measured = [(-found["score"], name) for found, name in developed if found["identity"] == same]
    else:
        found_bits = [(meta, name) for meta, name in metas if meta.get("heldout_bits_per_byte") is not None]
        # Those of earlier versions do not say on which texts.
        texts = found_bits[-1][0].get("heldout") if found_bits else None
        measured = [
            (float(meta["heldout_bits_per_byte"]), name)
            for meta, name in found_bits
            if meta.get("heldout", texts) == texts and math.isfinite(meta["heldout_bits_per_byte"])
        ]
    return min(measured)[1] if measured else None


def put_aside(path: Path) -> Path:
    """Renames a damaged step directory, so that nobody takes it for a checkpoint; an older one of that name goes."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.exists():
        shutil.rmtree(aside)
    return path.rename(aside)


def resolve_init(path: Path) -> tuple[Path, Path]:
    """The step directory and the tokenizer directory that `--init PATH` means.

    PATH is the output of pretraining or fine-tuning (its last checkpoint is taken), or one step directory inside it.

    Raises:
        MGLMError: neither of these.
    """
    if not (path / META_NAME).exists():
        read_manifest(path, CHECKPOINT)  # of a run that came to its end
    step, tokenizer = locate_checkpoint(path)
    if not tokenizer.is_dir():
        raise MGLMError(
            f"{tokenizer.parent}",
            found="no tokenizer/ beside its checkpoints",
            expected="a directory made by mglm train",
            action="keep step directories where training put them",
        )
    return step, tokenizer
