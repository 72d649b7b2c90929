"""A source too long for the model as several inputs, each with a window of its longest text.

For questions about a long context: nothing is cut silently, and the answer may stand in any window. Windows overlap, so
that an answer at the edge of one lies whole in the next.
"""

from collections.abc import Sequence

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import SourceIds, encode_source


def encode_windows(tokenizer: Tokenizer, segments: Sequence[Segment], max_tokens: int, stride: int) -> list[SourceIds]:
    """Inputs of at most `max_tokens` ids whose windows begin `stride` tokens apart; one input if all of it fits.

    Everything but the longest text segment stands whole in every input. Together the windows hold every token of it.

    Raises:
        MGLMError: as `encode_source`, or no room is left for the longest text.
    """
    whole = encode_source(tokenizer, segments, max_tokens=2**31)
    if len(whole.ids) <= max_tokens:
        return [whole]
    parts = [
        [tokenizer.command_id(segment.value)] if segment.kind == "mask" else tokenizer.encode(segment.value)
        for segment in segments
    ]
    texts = [index for index, segment in enumerate(segments) if segment.kind == "text"]
    longest = max(texts, key=lambda index: len(parts[index]), default=None)
    others = 1 + sum(len(part) for index, part in enumerate(parts) if index != longest)
    room = max_tokens - others
    if longest is None or room < 1:
        raise MGLMError(
            "a source",
            found=f"{others} tokens beside its longest text",
            expected=f"fewer than {max_tokens}",
            action="raise the source length",
        )
    step, text = min(stride, room), parts[longest]
    starts = range(0, max(1, len(text) - room + step), step)
    mask = next(index for index, segment in enumerate(segments) if segment.kind == "mask")
    windows = []
    for start in starts:
        cut = [text[start : start + room] if index == longest else part for index, part in enumerate(parts)]
        position = 1 + sum(len(part) for part in cut[:mask])
        windows.append(SourceIds([tokenizer.cls_id, *(token for part in cut for token in part)], position))
    return windows
