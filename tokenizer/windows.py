"""A source too long for the model as several inputs, each with a window of its longest text.

For questions about a long context: nothing is cut silently, and the answer may stand in any window. Windows overlap, so
that an answer at the edge of one lies whole in the next.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import SourceIds, encode_source


class Coder(Protocol):
    """Whose tokens the windows hold: our tokenizer, or another model."""

    def encode(self, text: str, /) -> list[int]: ...

    def decode(self, ids: Sequence[int], /) -> str: ...


class Window(Protocol):
    """A source as a model reads it."""

    @property
    def ids(self) -> list[int]: ...


W = TypeVar("W", bound=Window)


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


def windows_with_answer(
    windows: Sequence[W], segments: Sequence[Segment], answers: Sequence[str], coder: Coder
) -> list[W]:
    """What to learn from: the windows of the source in which one of the right answers stands, word for word.

    An answer that stands beside the long text, in the question, does not count. Where no window has one, e.g. of a
    summary, it is the first, the beginning of the text.
    """
    if len(windows) == 1:
        return list(windows)

    def as_read(text: str) -> str:
        return coder.decode(coder.encode(text)).strip()

    words = [segment for segment in segments if segment.kind != "mask"]
    longest = max(
        (segment for segment in words if segment.kind == "text"), key=lambda segment: len(coder.encode(segment.value))
    )
    beside = [as_read(segment.value) for segment in words if segment is not longest]
    read = [coder.decode(window.ids) for window in windows]
    for answer in filter(None, map(as_read, answers)):
        elsewhere = sum(text.count(answer) for text in beside)
        if found := [window for window, text in zip(windows, read, strict=True) if text.count(answer) > elsewhere]:
            return found
    return list(windows[:1])
