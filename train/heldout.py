"""Held-out text for a run to be measured on: a fixed few documents of each language, the same at every evaluation.

Read once from documents/1 and kept in `heldout.json` beside the checkpoints: a run that continues elsewhere is measured
on the same. Light: imports no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import MGLMError
from core.heldout import heldout_languages, heldout_texts
from core.log import get_logger
from core.manifest import MADE_BY, read_manifest, write_atomically
from core.schemas import DOCUMENTS

HELDOUT = "heldout.json"


@dataclass(frozen=True)
class HeldoutSource:
    """Where the texts come from, checked, not yet read; `identity` tells one choice of texts from another."""

    documents: Path
    languages: list[str]
    per_language: int
    identity: str


def heldout_source(documents: Path, per_language: int, wanted: set[str]) -> HeldoutSource:
    """The held-out documents of those languages in `wanted` that have any.

    Raises:
        MGLMError: no documents/1 there, or no language of the run has a held-out document.
    """
    manifest = read_manifest(documents, DOCUMENTS)
    languages = [lang for lang in heldout_languages(manifest) if lang in wanted]
    if not languages:
        raise MGLMError(
            f"--heldout {documents}",
            found="no held-out document in a language of this run",
            expected="at least one",
            action=f"run {MADE_BY[DOCUMENTS]} with more text or a larger corpus.heldout_share, or leave --heldout out",
        )
    return HeldoutSource(documents, languages, per_language, f"{manifest.content_hash()} {per_language}")


def read_heldout(source: HeldoutSource, kept: Path) -> Mapping[str, list[str]]:
    """Texts by language; written to `kept` when that does not hold them yet. For one process at a time."""
    if kept.exists():
        found = json.loads(kept.read_text("utf-8"))
        if found["identity"] == source.identity:
            return dict(found["texts"])
        get_logger("train").warning("%s holds other texts than --heldout now names; it is written anew", kept)
    manifest = read_manifest(source.documents, DOCUMENTS)
    texts = {lang: heldout_texts(source.documents, manifest, lang, source.per_language) for lang in source.languages}
    write_atomically(kept, json.dumps({"identity": source.identity, "texts": texts}, ensure_ascii=False))
    return texts
