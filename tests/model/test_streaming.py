from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.streamers import BaseStreamer

from model.streaming import NO_CHARACTER, Stop, clean, pieces, tokens_of


def utf8(span: list[int]) -> str:
    return bytes(span).decode("utf-8", "replace")


def given_tokens(*tokens: int) -> Callable[[BaseStreamer, Stop], None]:
    def write(streamer: BaseStreamer, stop: Stop) -> None:
        streamer.put(torch.tensor([[1, 2, 3]]))  # the prompt
        for token in tokens:
            streamer.put(torch.tensor([token]))

    return write


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")))
def test_pieces_join_to_the_text_and_hold_no_half_character(data: bytes) -> None:
    found = list(pieces((token for token in data), utf8))
    assert "".join(found) == clean(utf8(list(data)))
    assert all(found)
    assert not any(NO_CHARACTER in piece for piece in found)


def test_tokens_come_without_the_prompt() -> None:
    assert list(tokens_of(given_tokens(7, 8, 9), None)) == [7, 8, 9]


def test_what_goes_wrong_while_writing_is_raised_to_the_reader() -> None:
    def write(streamer: BaseStreamer, stop: Stop) -> None:
        given_tokens(7)(streamer, stop)
        raise RuntimeError("out of memory")

    tokens = tokens_of(write, None)
    assert next(tokens) == 7
    with pytest.raises(RuntimeError, match="out of memory"):
        next(tokens)


def test_who_stops_reading_stops_the_writing() -> None:
    ended: list[bool] = []

    def write(streamer: BaseStreamer, stop: Stop) -> None:
        given_tokens(7)(streamer, stop)
        while not stop():
            streamer.put(torch.tensor([8]))
        ended.append(True)

    def read() -> Iterator[str]:
        yield from pieces(tokens_of(write, None), str)

    reader = read()
    next(reader)
    reader.close()  # waits for the writer
    assert ended == [True]


def test_a_caller_can_stop_it_too() -> None:
    def write(streamer: BaseStreamer, stop: Stop) -> None:
        given_tokens()(streamer, stop)
        while not stop():
            streamer.put(torch.tensor([8]))

    assert set(tokens_of(write, iter([False, False, True]).__next__)) == {8}
