"""Articles longer than the model's context, read in passages: each is summarised, then the summaries, until they fit.

The model itself does all of it, with the prompt and the settings of the request. Nothing is left out, unless a limit
of passages is set; what is returned says how much was read. One batch of passages is in the model at a time, so memory
does not grow with the article but for its text and ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import SourceIds, encode_source
from tokenizer.passages import passages
from tokenizer.sentences import SentenceEnds

MOST_ROUNDS = 40  # a round leaves two thirds at most
_LEAST_ROOM = 16  # tokens of a passage
Generate = Callable[[list[list[int]], Mapping[str, Any]], list[list[int]]]


@dataclass(frozen=True)
class Reading:
    """What became of a source. `passages` of it were read, 1 when it fits as it is; in `rounds` rounds they and their
    summaries were summarised before the last one, which writes the answer.

    `read_tokens` counts what the model read before that round, `left_out_tokens` what of the text's `text_tokens` it
    never saw.
    """

    source: SourceIds
    passages: int = 1
    rounds: int = 0
    read_tokens: int = 0
    text_tokens: int = 0
    left_out_tokens: int = 0

    @property
    def read_share(self) -> float:
        return 1 - self.left_out_tokens / self.text_tokens if self.text_tokens else 1.0


class LongReader:
    """Brings sources down to what a model takes."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        generate: Generate,
        sentences: Callable[[], SentenceEnds],
        *,
        batch_size: int = 8,
        max_passages: int | None = None,
        stop: Callable[[], bool] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`generate` answers rows, at most `batch_size`, with settings like `max_new_tokens` over its own; `sentences`
        is asked for when a source is long; `tell` hears of each round."""
        self._tokenizer, self._generate, self._sentences, self._batch_size = tokenizer, generate, sentences, batch_size
        self._max_passages, self._stop, self._tell = max_passages, stop, tell

    def read(self, segments: Sequence[Segment], max_tokens: int, settings: Mapping[str, Any]) -> Reading:
        """A source of at most `max_tokens` ids: as it is where it fits, else with its longest text condensed.

        `settings` have the request's `max_new_tokens` and may have `min_new_tokens`.

        Raises:
            MGLMError: as `encode_source`; no room beside the prompt; or the model makes nothing shorter.
        """
        frame = _Frame.of(self._tokenizer, segments)
        if frame.fixed + len(frame.text) <= max_tokens:
            return Reading(encode_source(self._tokenizer, segments, max_tokens))
        room = max_tokens - frame.fixed
        if room < _LEAST_ROOM:
            raise MGLMError(
                "a long article",
                found=f"room for {room} of its tokens beside the prompt",
                expected=f"at least {_LEAST_ROOM}",
                action="use a model that reads longer sources",
            )
        each = max(1, min(int(settings["max_new_tokens"]), room // 3))
        shorter = {"max_new_tokens": each}
        if settings.get("min_new_tokens"):
            shorter["min_new_tokens"] = min(int(settings["min_new_tokens"]), each)
        reading = Reading(SourceIds([], 0), text_tokens=len(frame.text))
        tokens = frame.text
        while len(tokens) > room and not self._stopped():
            if reading.rounds == MOST_ROUNDS:
                raise MGLMError(
                    "a long article",
                    found=f"{len(tokens)} tokens of summaries after {MOST_ROUNDS} rounds",
                    expected=f"at most {room}",
                    action="lower max_new_tokens",
                )
            cut = self._passages(tokens, room)
            if self._tell is not None:
                self._tell(f"round {reading.rounds + 1}: {len(tokens):,} tokens in {len(cut)} passages")
            if not reading.rounds:
                reading = replace(
                    reading, passages=len(cut), left_out_tokens=len(tokens) - sum(len(part) for part in cut)
                )
            rows = [frame.around(part) for part in cut]
            reading = replace(
                reading, rounds=reading.rounds + 1, read_tokens=reading.read_tokens + sum(len(row.ids) for row in rows)
            )
            tokens = self._joined(self._answers([row.ids for row in rows], shorter))
        return replace(reading, source=frame.around(tokens[:room]))

    def _passages(self, tokens: Sequence[int], room: int) -> list[list[int]]:
        """All of them, or as many as are allowed, evenly spread from the first to the last."""
        cut = passages(tokens, room, self._sentences(), self._tokenizer)
        most = self._max_passages
        if most is None or len(cut) <= most:
            return cut
        return [cut[round(number * (len(cut) - 1) / max(most - 1, 1))] for number in range(most)]

    def _answers(self, rows: list[list[int]], settings: Mapping[str, Any]) -> list[list[int]]:
        """Those of like length together; in their order. Once stopped, the rest stays empty."""
        answers: list[list[int]] = [[] for _ in rows]
        ordered = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        for start in range(0, len(ordered), self._batch_size):
            if self._stopped():
                break
            batch = ordered[start : start + self._batch_size]
            for number, span in zip(batch, self._generate([rows[i] for i in batch], settings), strict=True):
                answers[number] = span
        return answers

    def _joined(self, spans: Sequence[list[int]]) -> list[int]:
        """A line for each summary: a line's end ends a sentence in every script."""
        lines = [" ".join(self._tokenizer.decode(span).replace("\ufffd", "").split()) for span in spans]
        return self._tokenizer.encode("\n".join(filter(None, lines)))

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop()


@dataclass(frozen=True)
class _Frame:
    """A source's ids with its longest text taken out."""

    cls_id: int
    before: list[int]
    text: list[int]
    after: list[int]
    mask_before: int | None  # place of the mask in `before`, None: it is in `after`
    mask_after: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, segments: Sequence[Segment]) -> "_Frame":
        parts = [
            [tokenizer.command_id(segment.value)] if segment.kind == "mask" else tokenizer.encode(segment.value)
            for segment in segments
        ]
        texts = [index for index, segment in enumerate(segments) if segment.kind == "text"]
        masks = [index for index, segment in enumerate(segments) if segment.kind == "mask"]
        if len(masks) != 1 or not texts:
            found = f"{len(masks)} masks and {len(texts)} texts"
            raise MGLMError("a source", found=found, expected="one mask and a text", action="mend its segments")
        longest = max(texts, key=lambda index: len(parts[index]))
        (mask,) = masks
        before = [token for part in parts[:longest] for token in part]
        after = [token for part in parts[longest + 1 :] for token in part]
        if mask < longest:
            return cls(tokenizer.cls_id, before, parts[longest], after, sum(map(len, parts[:mask])), 0)
        return cls(tokenizer.cls_id, before, parts[longest], after, None, sum(map(len, parts[longest + 1 : mask])))

    @property
    def fixed(self) -> int:
        return 1 + len(self.before) + len(self.after)

    def around(self, text: Sequence[int]) -> SourceIds:
        """The source with another text in its place."""
        ids = [self.cls_id, *self.before, *text, *self.after]
        if self.mask_before is not None:
            return SourceIds(ids, 1 + self.mask_before)
        return SourceIds(ids, 1 + len(self.before) + len(text) + self.mask_after)
