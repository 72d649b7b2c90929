"""Makes bits_per_byte/1: what an exported model needs for a byte of held-out text, for each language and overall.

How a text is scored is `model.bits_per_byte`'s business. A killed run continues with the next language.
"""

import json
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.heldout import heldout_languages, heldout_texts
from core.log import get_logger
from core.manifest import MADE_BY, read_manifest, write_atomically
from core.progress import progress
from core.schemas import DOCUMENTS
from core.stage import open_stage
from eval.config import EvalConfig
from model.convert import HF

BITS_PER_BYTE = "bits_per_byte/1"
FILE_NAME = "scores.json"

_log = get_logger("eval")


def measure(
    model: Path, documents: Path, output: Path, config: EvalConfig, *, overwrite: bool = False
) -> dict[str, Any]:
    """Measures at most `config.max_documents_per_language` held-out documents of each language.

    Raises:
        MGLMError: no model or no documents there, or no language with a held-out document.
    """
    manifest = read_manifest(documents, DOCUMENTS)
    languages = heldout_languages(manifest)
    if not languages:
        raise MGLMError(
            f"{documents}",
            found="no held-out document",
            expected="at least one",
            action=f"run {MADE_BY[DOCUMENTS]} with more text, or with a larger corpus.heldout_share",
        )
    inputs = {"model": read_manifest(model, HF).content_hash(), "documents": manifest.content_hash()}
    settings = {"max_documents_per_language": config.max_documents_per_language}
    stage = open_stage(output, schema=BITS_PER_BYTE, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.done:
        _log.info("already made: %s", output)
        return read_bits_per_byte(output)
    from model.bits_per_byte import bits_per_byte
    from model.summarizer import Summarizer

    exported = Summarizer.from_pretrained(model)
    rows = []
    with progress("bits per byte", len(languages)) as bar:
        for lang in languages:
            row_file = stage.work / f"{lang}.json"
            if not row_file.exists():
                texts = heldout_texts(documents, manifest, lang, config.max_documents_per_language)
                bits, scored_bytes = bits_per_byte(
                    exported.model, exported.tokenizer, texts, batch_size=config.batch_size
                )
                row = {"lang": lang, "documents": len(texts), "bytes": scored_bytes, "bits": bits}
                write_atomically(row_file, json.dumps(row))
            rows.append(json.loads(row_file.read_text("utf-8")))
            bar.advance(note=lang)
    result = summarised(rows)
    write_atomically(output / FILE_NAME, json.dumps(result, indent=1, ensure_ascii=False))
    overall = result["overall"]
    made = stage.finish(
        counts={row["lang"]: {"documents": row["documents"], "bytes": row["bytes"]} for row in rows}, facts=overall
    ).made
    _log.info(
        "%.3f bits per byte over %d languages (mean of languages %.3f), %d documents, in %.1f s: %s",
        overall["bits_per_byte"], len(rows), overall["macro"], overall["documents"], made["wall_s"], output,
    )  # fmt: skip
    return result


def summarised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of scores.json: `languages` by code, and `overall` weighing by bytes, its `macro` not."""
    languages = {row["lang"]: {**row, "bits_per_byte": row["bits"] / row["bytes"]} for row in rows}
    total_bytes = sum(row["bytes"] for row in rows)
    overall = {
        "documents": sum(row["documents"] for row in rows),
        "bytes": total_bytes,
        "bits_per_byte": sum(row["bits"] for row in rows) / total_bytes,
        "macro": sum(row["bits_per_byte"] for row in languages.values()) / len(languages),
    }
    return {"schema": BITS_PER_BYTE, "languages": languages, "overall": overall}


def read_bits_per_byte(directory: Path) -> dict[str, Any]:
    """scores.json of a finished bits_per_byte/1 directory."""
    read_manifest(directory, BITS_PER_BYTE)
    result: dict[str, Any] = json.loads((directory / FILE_NAME).read_text("utf-8"))
    return result
