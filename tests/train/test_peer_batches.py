"""The rows of another's model are made when they are needed, and go when they are not."""

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.examples import Example
from model.peer_text import PeerSource
from tests.train.conftest import make_examples
from train.config import FinetuneConfig
from train.peer_job import PeerJob
from train.peer_loop import PeerBatches


def make_batches(examples: list[Example]) -> PeerBatches:
    config = FinetuneConfig(global_batch_size=4, source_length=16, target_length=8)
    job = PeerJob(
        init=Path(), output=Path(), examples=tuple(examples), config=config, steps=9, world_size=1, identity={},
        inputs={}, development=None, prompts=None,
    )  # fmt: skip
    peer: Any = SimpleNamespace(
        sources=lambda example, most, stride: [PeerSource(list(example.id.encode())[:most], ())],
        encode=lambda text: list(text.encode()),
        end_ids=[1],
    )
    return PeerBatches(job, peer)


def test_an_epoch_holds_every_example_once_whatever_the_number_of_processes() -> None:
    examples = make_examples(6)
    batches = make_batches(examples)
    alone = [batches.rows(step, 0, 1) for step in range(3)]
    assert sorted(bytes(source.ids).decode() for rows in alone for source, _ in rows) == sorted(
        example.id for example in examples
    )
    assert [[*batches.rows(step, 0, 2), *batches.rows(step, 1, 2)] for step in range(3)] == alone


def test_a_row_that_was_trained_on_takes_no_memory() -> None:
    batches = make_batches(make_examples(2))
    rows = batches.rows(0, 0, 1)
    held = [weakref.ref(source) for source, _ in rows]
    del rows
    gc.collect()
    assert [reference() for reference in held] == [None] * 4
