"""Directories of other people's models, as Hugging Face transformers loads them. Light: imports no torch.

Such a directory is known by its config.json. What `mglm train finetune` makes of one is a peer/1 directory; one as
published has no manifest, and its files stand for what it is.
"""

import json
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, hash_of, read_manifest, sha256_file
from model.convert import HF

PEER = "peer/1"
OURS = "mglm"  # model_type of our exports
WEIGHTS = ("*.safetensors", "*.bin")  # the first that is there counts, as for transformers
_READ_TOO = ("*.json", "*.model", "*.txt", "*.py", "*.spm")


def peer_config(directory: Path) -> dict[str, Any] | None:
    """config.json of a model that is not ours; None where the directory holds something else.

    Raises:
        MGLMError: a config.json that is no JSON object.
    """
    path = directory / "config.json"
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        config = None
    if not isinstance(config, dict):
        raise MGLMError(f"{path}", found="no JSON object", expected="a model's configuration")
    return None if config.get("model_type") == OURS else config


def model_identity(directory: Path) -> str:
    """What a stage records as its input: the manifest's hash of an export or of a fine-tuned peer, else one of the
    files that transformers reads.

    Raises:
        MGLMError: nothing of the kind is there.
    """
    if peer_config(directory) is None:
        return read_manifest(directory, HF).content_hash()
    if (directory / MANIFEST_NAME).exists():
        return read_manifest(directory, PEER).content_hash()
    weights = next((found for pattern in WEIGHTS if (found := sorted(directory.glob(pattern)))), None)
    if weights is None:
        raise MGLMError(
            f"model {directory}",
            found="config.json without weights",
            expected=" or ".join(WEIGHTS),
            action="download the whole model",
        )
    others = sorted(path for pattern in _READ_TOO for path in directory.glob(pattern))
    return hash_of({path.name: sha256_file(path) for path in [*weights, *others]})


def positions_of(config: dict[str, Any]) -> int | None:
    """Most positions that the model has a place for; None where any number is (relative positions, ALiBi)."""
    if "relative_attention_num_buckets" in config or config.get("model_type") == "bloom":
        return None
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(config.get(name), int):
            return int(config[name])
    return None
