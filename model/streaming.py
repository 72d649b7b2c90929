"""A summary while it is being written: `generate` in a thread of its own, its tokens turned to text as they come."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from torch import Tensor
from transformers.generation import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

NO_CHARACTER = "\ufffd"  # what decoding puts for bytes that are not UTF-8

Stop = Callable[[], bool]
Tokens = queue.SimpleQueue[int | BaseException | None]


class Asked(StoppingCriteria):
    """Ends generation when a caller says so."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return input_ids.new_full((len(input_ids),), self.stop()).bool()


def tokens_of(write: Callable[[BaseStreamer, Stop], object], stop: Stop | None) -> Generator[int, None, None]:
    """The tokens that `write` gives its streamer, as they come. What it raises is raised here; closing the iterator
    makes the Stop it was handed say True, and waits for it."""
    closed = threading.Event()
    tokens: Tokens = queue.SimpleQueue()

    def work() -> None:
        try:
            write(_ToQueue(tokens), lambda: closed.is_set() or bool(stop and stop()))
            tokens.put(None)
        except BaseException as error:
            tokens.put(error)

    writer = threading.Thread(target=work, name="writer", daemon=True)
    writer.start()
    try:
        while (token := tokens.get()) is not None:
            if isinstance(token, BaseException):
                raise token
            yield token
    finally:
        closed.set()
        writer.join()


def pieces(tokens: Generator[int, None, None], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """What each token adds to the text. Bytes of half a character wait for the rest of it, and space for what follows:
    joined, the pieces are `clean(decode(all tokens))`."""
    span: list[int] = []
    said = 0
    with closing(tokens):
        for token in tokens:
            span.append(token)
            text = clean(decode(span))
            if len(text) > said:
                yield text[said:]
                said = len(text)


def clean(text: str) -> str:
    """Without space at its ends, and without bytes that form no character, which a weak model may write."""
    return text.replace(NO_CHARACTER, "").strip()


class _ToQueue(BaseStreamer):
    """Of one row; the first `put` is its prompt."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self.begun = tokens, False

    def put(self, value: Tensor) -> None:
        if self.begun:
            self.tokens.put(int(value.item()))
        self.begun = True

    def end(self) -> None:
        """Says nothing: `tokens_of` knows when `write` returns."""
