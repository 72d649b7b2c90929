"""Whether a model can read and write what the decoding settings ask for: said before any work."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from model.peer_directory import peer_config, positions_of


def check_lengths(model: Path, decoding: Mapping[str, Any]) -> None:
    """Raises MGLMError for a source or an answer longer than the model has positions for, or a minimum no answer can
    reach."""
    positions, wanted = _positions(model, decoding)
    _check(positions, wanted, decoding, f"the model {model}")


def check_positions(positions: int | None, decoding: Mapping[str, Any], whose: str) -> None:
    """As `check_lengths`, for a GLM of so many positions, or (None) a model in which any number goes."""
    _check(positions, _of_glm(decoding), decoding, whose)


def in_passages_refused() -> MGLMError:
    """What to raise where another's model is to condense long articles."""
    return MGLMError(
        "eval.long_articles", found="passages, with a model that is not a GLM of ours", expected="cut",
        action="leave it out: what is not read is counted",
    )  # fmt: skip


def _check(positions: int | None, wanted: Mapping[str, int], decoding: Mapping[str, Any], whose: str) -> None:
    for name, tokens in wanted.items():
        if positions is not None and tokens > positions:
            raise MGLMError(
                f"eval.{name}",
                found=f"{tokens} positions",
                expected=f"at most the {positions} of {whose}",
                action=f"lower it, e.g. --set eval.{name}={positions // 2}",
            )
    if decoding["min_new_tokens"] > decoding["max_new_tokens"]:
        found = f"{decoding['min_new_tokens']}, more than eval.max_new_tokens {decoding['max_new_tokens']}"
        raise MGLMError("eval.min_new_tokens", found=found, expected="at most as many", action="lower it")


def _positions(model: Path, decoding: Mapping[str, Any]) -> tuple[int | None, dict[str, int]]:
    """The model's positions, None where any number goes, and how many of them each setting takes."""
    config = peer_config(model)
    if config is None:
        ours = json.loads((model / "config.json").read_text("utf-8"))
        return int(ours["max_position_embeddings"]), _of_glm(decoding)
    source, new = decoding["max_source_tokens"] or 0, decoding["max_new_tokens"]
    if config.get("is_encoder_decoder"):
        return positions_of(config), {"max_source_tokens": source, "max_new_tokens": new + 2}  # start and language
    return positions_of(config), {"max_new_tokens": new, "max_source_tokens": source + new}


def _of_glm(decoding: Mapping[str, Any]) -> dict[str, int]:
    # A span begins with a token of its own, [sop].
    return {"max_source_tokens": decoding["max_source_tokens"] or 0, "max_new_tokens": decoding["max_new_tokens"] + 1}
