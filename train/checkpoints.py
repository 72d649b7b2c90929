"""Which checkpoints stay, and which one `--init` means. Light: imports no torch."""

import re
import shutil
from pathlib import Path

from core.errors import MGLMError
from core.manifest import read_manifest
from model.checkpoint_meta import CHECKPOINT, META_NAME
from train.job import CHECKPOINTS, TOKENIZER


def complete_checkpoints(root: Path) -> list[Path]:
    """Complete step directories below `root`, lowest step first."""
    found = [path for path in root.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name)]
    return sorted((path for path in found if (path / META_NAME).exists()), key=lambda path: int(path.name[5:]))


def remove_old(root: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints, meta.json first, so that none looks complete while it goes."""
    for path in complete_checkpoints(root)[:-keep]:
        (path / META_NAME).unlink()
        shutil.rmtree(path)


def resolve_init(path: Path) -> tuple[Path, Path]:
    """The step directory and the tokenizer directory that `--init PATH` means.

    PATH is the output of pretraining or fine-tuning (its last checkpoint is taken), or one step directory inside it.

    Raises:
        MGLMError: neither of these.
    """
    if (path / META_NAME).exists():
        step, stage = path, path.parent.parent
    else:
        read_manifest(path, CHECKPOINT)
        stage = path
        checkpoints = complete_checkpoints(path / CHECKPOINTS)
        if not checkpoints:
            raise MGLMError(f"{path / CHECKPOINTS}", found="no checkpoint", expected="a step directory")
        step = checkpoints[-1]
    if not (stage / TOKENIZER).is_dir():
        raise MGLMError(
            f"{stage}",
            found="no tokenizer/ beside its checkpoints",
            expected="a directory made by mglm train",
            action="keep step directories where training put them",
        )
    return step, stage / TOKENIZER
