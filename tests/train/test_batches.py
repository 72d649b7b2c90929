"""Batches are functions of the step: the same for any number of processes, and what the shards hold."""

from pathlib import Path

import numpy as np
import pytest

from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Draw, Sampler
from tokenizer.shards import Shards
from train.batches import MicroBatch, PretrainBatches, window_length
from train.config import PretrainConfig

LENGTH = 64
SHARES = {"en": 0.5, "hi": 0.3, "th": 0.2}


@pytest.fixture
def batches(shards_directory: Path, tokenizer: Tokenizer) -> PretrainBatches:
    return make_batches(shards_directory, tokenizer, PretrainConfig(global_batch_size=8, micro_batch_size=2))


def make_batches(directory: Path, tokenizer: Tokenizer, config: PretrainConfig) -> PretrainBatches:
    shards = Shards.open(directory)
    sampler = Sampler(shards.stream_lengths(), SHARES, LENGTH - 1, config.seed)
    return PretrainBatches(shards, sampler, tokenizer, config, LENGTH)


def joined(parts: list[MicroBatch], field: str) -> np.ndarray:
    return np.concatenate([getattr(part, field) for part in parts])


FIELDS = ("input_ids_BS", "position_ids_B2S", "context_length_B", "labels_BS")


@pytest.mark.parametrize("data_size", [2, 4])
def test_processes_share_out_the_same_rows(batches: PretrainBatches, data_size: int) -> None:
    alone = batches.batch(5, 0, 1)
    shared = [part for rank in range(data_size) for part in batches.batch(5, rank, data_size)]
    for field in FIELDS:
        assert (joined(alone, field) == joined(shared, field)).all()


def test_a_step_does_not_depend_on_the_steps_before_it(
    batches: PretrainBatches, shards_directory: Path, tokenizer: Tokenizer
) -> None:
    for step in range(3):
        batches.batch(step, 0, 1)
    fresh = make_batches(shards_directory, tokenizer, PretrainConfig(global_batch_size=8, micro_batch_size=2))
    for field in FIELDS:
        assert (joined(batches.batch(3, 0, 1), field) == joined(fresh.batch(3, 0, 1), field)).all()


def test_micro_batches_have_one_shape(batches: PretrainBatches) -> None:
    for step in range(4):
        for part in batches.batch(step, 0, 2):
            assert part.input_ids_BS.shape == part.labels_BS.shape == (2, batches.row_length)
            assert part.position_ids_B2S.shape == (2, 2, batches.row_length)
            assert part.segment_ids_BS is None


def test_a_row_is_its_window_of_the_stream_with_a_cls_in_front(
    batches: PretrainBatches, shards_directory: Path, tokenizer: Tokenizer
) -> None:
    shards = Shards.open(shards_directory)
    stream = np.concatenate(
        [[tokenizer.cls_id, *shards.document("hi", index), tokenizer.eos_id] for index in range(shards.documents("hi"))]
    )
    stream = np.concatenate([stream, stream])  # a ring
    for start in range(shards.stream_length("hi")):
        row = batches._rows([[Draw("hi", 0, start, start + LENGTH - 1)]]).row(0)
        window = stream[start : start + LENGTH - 1]
        if window[0] == tokenizer.eos_id:
            window = window[1:]
        wanted = window if window[0] == tokenizer.cls_id else np.concatenate([[tokenizer.cls_id], window])
        assert row.tokens_S.tolist() == wanted.tolist()
        assert (row.tokens_S == tokenizer.cls_id).sum() == row.segments_S[-1] + 1


def test_a_window_of_almost_nothing_is_a_row_all_the_same(
    batches: PretrainBatches, shards_directory: Path, tokenizer: Tokenizer
) -> None:
    last = Shards.open(shards_directory).document("en", 0).size + 1
    rows = batches._rows([[Draw("en", 0, last, last + 1)], [Draw("en", 0, 0, 1)]])
    assert rows.row(0).tokens_S.tolist() == [tokenizer.cls_id, tokenizer.eos_id]
    assert rows.row(1).tokens_S.tolist() == [tokenizer.cls_id]


def test_isolated_documents_come_with_segments(shards_directory: Path, tokenizer: Tokenizer) -> None:
    config = PretrainConfig(global_batch_size=8, micro_batch_size=8, isolate_documents=True)
    (part,) = make_batches(shards_directory, tokenizer, config).batch(0, 0, 1)
    assert part.segment_ids_BS is not None
    assert part.segment_ids_BS.max() > 0
    assert (part.segment_ids_BS == -1).sum() == part.input_ids_BS.size - part.tokens


def test_languages_come_in_the_plan_s_shares(batches: PretrainBatches) -> None:
    languages = [batches.sample(index)[2] for index in range(200)]
    for lang, share in SHARES.items():
        assert abs(languages.count(lang) / 200 - share) < 0.03


def test_a_sequence_of_several_windows_is_one_of_several_languages(
    shards_directory: Path, tokenizer: Tokenizer
) -> None:
    config = PretrainConfig(global_batch_size=8, micro_batch_size=2, windows_per_sequence=2)
    shards = Shards.open(shards_directory)
    sampler = Sampler(shards.stream_lengths(), SHARES, window_length(LENGTH, config), config.seed)
    batches = PretrainBatches(shards, sampler, tokenizer, config, LENGTH)
    mixed = 0
    for index in range(40):
        _, row, languages = batches.sample(index)
        draws = sampler.draw_many(2 * index, 2)
        assert set(languages.split("+")) == batches.languages(index) == {draw.lang for draw in draws}
        alone = [batches._rows([[draw]]).row(0).tokens_S for draw in draws]
        assert row.tokens_S.tolist() == np.concatenate(alone).tolist()
        assert row.tokens_S.size <= LENGTH
        assert np.unique(row.segments_S).tolist() == list(range(int(row.segments_S[-1]) + 1))
        mixed += len(batches.languages(index)) == 2
    assert mixed > 10
    assert joined(batches.batch(2, 0, 1), "labels_BS").shape == (8, batches.row_length)
