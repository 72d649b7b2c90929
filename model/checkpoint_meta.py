"""The `meta.json` of a checkpoint, readable without torch: what model, which step, which tokenizer."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.manifest import MADE_BY, MANIFEST_NAME, describe_files, hash_of, read_manifest, sha256_file

CHECKPOINT = "checkpoint/1"
META_NAME = "meta.json"
# Where a stage of `mglm train` keeps its step directories and its tokenizer.
CHECKPOINTS_NAME = "checkpoints"
TOKENIZER_NAME = "tokenizer"


def read_meta(directory: Path) -> dict[str, Any]:
    """The meta of one step directory.

    Raises:
        MGLMError: it is no complete checkpoint, or of another schema.
    """
    expected, action = f"a {CHECKPOINT} step directory", f"run {MADE_BY[CHECKPOINT]} first"
    try:
        meta = json.loads((directory / META_NAME).read_text("utf-8"))
    except OSError:
        raise MGLMError(f"{directory}", found=f"no {META_NAME}", expected=expected, action=action) from None
    except ValueError:
        raise MGLMError(f"{directory / META_NAME}", found="no JSON", expected=expected, action=action) from None
    if not isinstance(meta, dict) or meta.get("schema") != CHECKPOINT:
        raise MGLMError(f"{directory / META_NAME}", found="another schema", expected=expected, action=action)
    return meta


def check_sizes(directory: Path, meta: Mapping[str, Any]) -> None:
    """Whether the files that a checkpoint's meta lists are there in full; older ones list none.

    Raises:
        MGLMError: names the first that is not.
    """
    if wrong := _wrong_size(directory, meta.get("files", {})):
        raise MGLMError(
            f"checkpoint {directory}",
            found=wrong,
            expected="what was written there",
            action="take another step directory, or let the training command go on from its last good one",
        )


def damage(directory: Path, part: int = 0, parts: int = 1) -> str:
    """What is wrong with a step directory's files, "" if nothing is: their sizes, and sha256 of every `parts`-th.

    Processes that share the work give their number as `part`.
    """
    try:
        files = read_meta(directory).get("files", {})
    except MGLMError as error:
        return str(error)
    if wrong := _wrong_size(directory, files):
        return wrong
    try:
        for name in sorted(files)[part::parts]:
            if sha256_file(directory / name) != files[name]["sha256"]:
                return f"{name} with another content than was written"
    except OSError as error:
        return str(error)
    return ""


def _wrong_size(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> str:
    for name, entry in files.items():
        path = directory / name
        size = path.stat().st_size if path.is_file() else None
        if size != entry["bytes"]:
            return f"{name} missing" if size is None else f"{size} of {entry['bytes']} bytes of {name}"
    return ""


def complete_checkpoints(root: Path) -> list[Path]:
    """Complete step directories below `root`, lowest step first."""
    found = [path for path in root.glob("step-*") if re.fullmatch(r"step-\d{8,}", path.name)]
    return sorted((path for path in found if (path / META_NAME).exists()), key=lambda path: int(path.name[5:]))


def latest_checkpoint(root: Path) -> Path | None:
    """The complete checkpoint of the highest step below `root`; None when there is none."""
    return max(complete_checkpoints(root), key=lambda path: int(path.name[5:]), default=None)


def locate_checkpoint(path: Path) -> tuple[Path, Path]:
    """The step directory and the tokenizer directory that PATH means: a stage's output (its latest) or one step of it.

    Raises:
        MGLMError: neither of these.
    """
    step = path if (path / META_NAME).exists() else latest_checkpoint(path / CHECKPOINTS_NAME)
    if step is None:
        raise MGLMError(
            f"{path}",
            found=f"no complete checkpoint in {CHECKPOINTS_NAME}/" if path.is_dir() else "no such directory",
            expected="the output of pretraining or fine-tuning, or one step directory of it",
            action=f"run {MADE_BY[CHECKPOINT]} first",
        )
    return step, step.resolve().parent.parent / TOKENIZER_NAME


def checkpoint_hash(path: Path) -> str:
    """What a stage records as its input when it begins with the checkpoint that PATH means, as in `locate_checkpoint`.

    The manifest's hash where training came to its end, else a hash of the step's files: weights, not only their shape.
    Their sums are those that the meta lists, as every process asks, and whoever loads them looks whether they hold.
    """
    if (path / MANIFEST_NAME).exists():
        return read_manifest(path, CHECKPOINT).content_hash()
    step, _ = locate_checkpoint(path)
    return hash_of([entry.model_dump() for entry in describe_files(step, {}, read_meta(step).get("files", {}))])
