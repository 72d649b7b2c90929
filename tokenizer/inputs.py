"""A source's segments as model input: `[CLS]` and the segments' ids, texts cut to fit, the mask's place known.

Fine-tuning, prediction and the Summarizer all take their input from here, so they cannot differ. A text that spells a
command stays text: only a `mask` segment becomes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.encoding import Tokenizer


@dataclass(frozen=True)
class SourceIds:
    """`ids` begins with [CLS]; `ids[mask_position]` is the mask whose place the answer takes."""

    ids: list[int]
    mask_position: int


def encode_source(tokenizer: Tokenizer, segments: Sequence[Segment], max_tokens: int) -> SourceIds:
    """At most `max_tokens` ids. Only text segments are cut, at their ends: the longest first, so a short one (a
    question) stays whole beside a long one (its context).

    Raises:
        MGLMError: not exactly one mask, or the prompt alone is longer than `max_tokens`.
    """
    masks = sum(segment.kind == "mask" for segment in segments)
    if masks != 1:
        raise MGLMError("a source", found=f"{masks} masks", expected="exactly one", action="mend its segments")
    parts = [
        [tokenizer.command_id(segment.value)] if segment.kind == "mask" else tokenizer.encode(segment.value)
        for segment in segments
    ]
    kinds = [segment.kind for segment in segments]
    fixed = 1 + sum(len(part) for part, kind in zip(parts, kinds, strict=True) if kind != "text")
    if fixed > max_tokens:
        raise MGLMError(
            "a source",
            found=f"a prompt of {fixed} tokens",
            expected=f"at most {max_tokens}",
            action="raise the source length or shorten the prompt",
        )
    limit = common_limit(
        [len(part) for part, kind in zip(parts, kinds, strict=True) if kind == "text"], max_tokens - fixed
    )
    ids, mask_position = [tokenizer.cls_id], 0
    for part, kind in zip(parts, kinds, strict=True):
        if kind == "mask":
            mask_position = len(ids)
        ids += part[:limit] if kind == "text" else part
    return SourceIds(ids, mask_position)


def common_limit(lengths: list[int], room: int) -> int:
    """The largest limit with Σ min(length, limit) ≤ room."""
    low, high = 0, max(lengths, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= room:
            low = middle
        else:
            high = middle - 1
    return low
