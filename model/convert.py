"""`mglm model convert`: a model moves between its homes. Light until there is work: imports no torch before that.

To Hugging Face makes an hf/1 directory; to megatron a checkpoint/1 directory, which `mglm train finetune --init` takes.
"""

import time
from pathlib import Path

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY, read_manifest
from core.stage import open_stage
from model.checkpoint_meta import CHECKPOINT, checkpoint_hash
from model.config import ModelConfig
from tokenizer.encoding import Tokenizer

HF = "hf/1"
PAIRS = (("megatron", "hf"), ("authors", "hf"), ("hf", "megatron"), ("authors", "megatron"))


def convert(
    source: str,
    target: str,
    path: Path,
    output: Path,
    *,
    model: ModelConfig,
    tokenizer: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Makes `output` from the model at `path`.

    `tokenizer` replaces the one beside the model; `model` tells the shape where the input does not (from authors).

    Raises:
        MGLMError: no such conversion, or an input that is not what `source` says.
    """
    log, started = get_logger("model"), time.monotonic()
    if (source, target) not in PAIRS:
        pairs = ", ".join(f"--from {one} --to {other}" for one, other in PAIRS)
        raise MGLMError("mglm model convert", found=f"--from {source} --to {target}", expected=f"one of {pairs}")
    inputs = _identity(source, path)
    if tokenizer is not None:
        inputs["tokenizer"] = Tokenizer.load(tokenizer).sha256
    config = {"from": source, "to": target, "model": model.model_dump() if source == "authors" else None}
    schema = HF if target == "hf" else CHECKPOINT
    stage = open_stage(output, schema=schema, config=config, inputs=inputs, overwrite=overwrite)
    if stage.done:
        log.info("convert: already made in %s", output)
        return

    from model.readers import READERS
    from model.writers import WRITERS

    parameters = WRITERS[target](output, READERS[source](path, tokenizer, model))
    stage.finish(facts={"parameters": parameters})
    seconds = time.monotonic() - started
    log.info("convert: %s parameters from %s to %s in %.0f s → %s", f"{parameters:,}", source, target, seconds, output)


def check_export(path: Path) -> None:
    """
    Raises:
        MGLMError: the directory holds no export.
    """
    if not (path / "config.json").is_file():
        raise MGLMError(f"model {path}", found="no config.json", expected=HF, action=f"run {MADE_BY[HF]}")


def _identity(source: str, path: Path) -> dict[str, str]:
    """What the manifest records as input; needs no model in memory."""
    if source == "megatron":
        return {"checkpoint": checkpoint_hash(path)}
    if source == "hf":
        return {"export": read_manifest(path, HF).content_hash()}
    from model.released import released_files

    status = [file.stat() for file in released_files(path)]
    return {"released": ", ".join(f"{file.st_size} bytes, mtime {file.st_mtime_ns}" for file in status)}
