"""Which checkpoints stay, and which one `--init` means. Light: imports no torch."""

import shutil
from pathlib import Path

from core.errors import MGLMError
from core.manifest import read_manifest
from model.checkpoint_meta import CHECKPOINT, META_NAME, complete_checkpoints, locate_checkpoint


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
