"""What a GLM sample must look like, for any row; and that our layout is the authors' for their choices."""

import gzip
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tokenizer.encoding import Tokenizer
from tokenizer.sentences import SentenceEnds
from train.blank_infilling import MODES as MODES_OF_SAMPLES
from train.blank_infilling import blank_infilling, check_positions, choose_blanks, max_spans, row_length
from train.blank_layout import NO_LOSS, Row, Rows, Sample, layout, layout_rows
from train.config import BlankConfig

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "glm_tiny" / "blank_infilling.json.gz"
IDS = SimpleNamespace(eos_id=300, cls_id=302, mask_id=303, sop_id=306, eop_id=307, smask_id=308, gmask_id=309)
D_BLOCK = 310  # an experiment of the authors that the paper does not name; its samples are not compared
FULL_STOP = 5
MODES = {
    "tokens": BlankConfig(token_blanks=1.0, sentence_blanks=0.0, generation=0.0),
    "sentences": BlankConfig(token_blanks=0.0, sentence_blanks=1.0, generation=0.0),
    "generation": BlankConfig(token_blanks=0.0, sentence_blanks=0.0, generation=1.0),
}


class Stops:
    """Sentences end at token 5, as in the reference."""

    def starts(self, tokens: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts = begins.copy()
        starts[1:] |= tokens[:-1] == FULL_STOP
        return starts, np.ones(len(tokens), dtype=bool)


def row_of(documents: list[list[int]], *, whole: bool = True) -> Row:
    tokens = [[IDS.cls_id, *document, IDS.eos_id] for document in documents]
    if not whole:
        tokens[-1] = tokens[-1][:-1]
    segments = np.repeat(np.arange(len(tokens)), [len(part) for part in tokens])
    return Row(np.array([token for part in tokens for token in part], dtype=np.int64), segments)


random_documents = st.lists(st.lists(st.integers(0, 299), min_size=0, max_size=60), min_size=1, max_size=5)
rows = st.builds(row_of, random_documents, whole=st.booleans())
configs = st.sampled_from([*MODES.values(), BlankConfig()])


def cut(row: Row, config: BlankConfig, index: int = 0, seed: int = 1) -> Sample:
    most = max_spans(row.tokens_S.size, config)
    return blank_infilling(row, seed=seed, index=index, ids=IDS, sentences=Stops(), config=config, spans=most)


@pytest.mark.parametrize(
    "config",
    [
        MODES["sentences"].model_copy(update={"sentence_ends": "authors"}),
        MODES["sentences"].model_copy(update={"blank_share": 0.99}),
        MODES["tokens"].model_copy(update={"mean_span": 60.0, "max_span": 63}),
    ],
)
def test_blanks_that_may_leave_the_position_table_are_refused(config: BlankConfig) -> None:
    row = row_of([[7] * 63], whole=False)
    last = max(int(cut(row, config, index).position_ids_2S[1].max()) for index in range(60))
    assert last == 64
    check_positions("pretrain", config, 63, last + 1)
    with pytest.raises(MGLMError, match="found blanks of up to 63 tokens.* expected at least 65 positions"):
        check_positions("pretrain", config, 63, last)
    for mode in MODES.values():
        check_positions("pretrain", mode, 63, 64)


def has_end_token(sample: Sample) -> bool:
    return IDS.eop_id in sample.labels_S


def rebuilt(sample: Sample) -> list[int]:
    """The row, from context and targets alone: each mask replaced by the targets that carry its position."""
    answers: dict[int, list[int]] = {}
    for label, position in zip(sample.labels_S, sample.position_ids_2S[0], strict=True):
        if label not in (NO_LOSS, IDS.eop_id):
            answers.setdefault(int(position), []).append(int(label))
    context = sample.input_ids_S[: sample.context_length].tolist()
    return [token for place, word in enumerate(context) for token in answers.get(place, [word])]


@settings(max_examples=100, deadline=None)
@given(rows, configs, st.integers(0, 2**40))
def test_context_and_blanks_rebuild_the_row(row: Row, config: BlankConfig, index: int) -> None:
    assert rebuilt(cut(row, config, index)) == row.tokens_S.tolist()


@settings(max_examples=100, deadline=None)
@given(rows, configs, st.integers(0, 2**40))
def test_nothing_outside_blanks_is_a_target_and_every_blank_token_is(row: Row, config: BlankConfig, index: int) -> None:
    sample = cut(row, config, index)
    assert (sample.labels_S[: sample.context_length] == NO_LOSS).all()
    assert (sample.labels_S[sample.context_length :] != NO_LOSS).all()
    targets = sum(stop - start for start, stop in sample.spans) + has_end_token(sample) * len(sample.spans)
    assert sample.labels_S.size - sample.context_length == targets


@settings(max_examples=100, deadline=None)
@given(rows, configs, st.integers(0, 2**40))
def test_positions_follow_the_specification(row: Row, config: BlankConfig, index: int) -> None:
    sample = cut(row, config, index)
    length, (first_S, second_S) = sample.context_length, sample.position_ids_2S
    assert first_S[:length].tolist() == list(range(length))
    assert (second_S[:length] == 0).all()
    masks = {IDS.mask_id, IDS.smask_id, IDS.gmask_id}
    start = length
    for begin, stop in sample.spans:
        size = stop - begin + has_end_token(sample)
        assert sample.input_ids_S[start] == IDS.sop_id
        assert second_S[start : start + size].tolist() == list(range(1, size + 1))
        assert len(set(first_S[start : start + size].tolist())) == 1
        assert sample.input_ids_S[first_S[start]] in masks
        # Teacher forcing: each input is the target before it.
        assert (
            sample.input_ids_S[start + 1 : start + size].tolist() == sample.labels_S[start : start + size - 1].tolist()
        )
        start += size
    assert start == sample.input_ids_S.size


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([MODES["tokens"], MODES["sentences"]]), st.integers(0, 2**40))
def test_commands_are_never_blanked_as_words_or_sentences(row: Row, config: BlankConfig, index: int) -> None:
    sample = cut(row, config, index)
    for start, stop in sample.spans:
        assert not np.isin(row.tokens_S[start:stop], [IDS.cls_id, IDS.eos_id]).any()


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(0, 2**40))
def test_a_token_is_left_between_two_token_blanks(row: Row, index: int) -> None:
    spans = sorted(cut(row, MODES["tokens"], index).spans)
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(spans))


@settings(max_examples=100, deadline=None)
@given(rows, configs, st.integers(0, 2**40))
def test_every_sample_fits_the_row(row: Row, config: BlankConfig, index: int) -> None:
    length = row_length(row.tokens_S.size, config)
    padded = cut(row, config, index).padded(length, IDS.eos_id)
    assert padded.input_ids_S.shape == padded.labels_S.shape == padded.segment_ids_S.shape == (length,)
    assert padded.position_ids_2S.shape == (2, length)
    behind = slice(cut(row, config, index).input_ids_S.size, None)
    assert (padded.labels_S[behind] == NO_LOSS).all()
    assert (padded.segment_ids_S[behind] == -1).all()


def test_the_paper_s_512_tokens_make_rows_of_576() -> None:
    assert row_length(512, BlankConfig()) == 576


def long_row(length: int = 512) -> Row:
    rng = np.random.default_rng(0)
    return row_of([rng.integers(6, 300, length - 1).tolist()], whole=False)


def blanked_share(sample: Sample, row: Row) -> float:
    return sum(stop - start for start, stop in sample.spans) / row.tokens_S.size


def test_token_blanks_take_fifteen_percent_in_spans_of_about_three() -> None:
    row = long_row()
    samples = [cut(row, MODES["tokens"], index) for index in range(300)]
    shares = [blanked_share(sample, row) for sample in samples]
    lengths = np.array([stop - start for sample in samples for start, stop in sample.spans])
    assert 0.15 <= np.mean(shares) < 0.165
    assert np.mean(np.array(shares) >= 0.15) > 0.98  # those below ran out of room for blanks
    assert abs(lengths.mean() - 3 / (1 - np.exp(-3))) < 0.1  # Poisson(3) without 0
    assert {1, 2, 3, 4, 5, 6, 7} <= set(lengths.tolist())


def test_token_blanks_stand_everywhere_alike() -> None:
    row = long_row(128)
    hits = np.zeros(128)
    for index in range(1_500):
        for start, stop in cut(row, MODES["tokens"], index).spans:
            hits[start:stop] += 1
    middle = hits[8:120]
    assert hits[0] == 0  # [CLS]
    assert middle.min() > 0.75 * middle.mean()
    assert middle.max() < 1.25 * middle.mean()


def test_sentence_blanks_take_whole_sentences_as_near_the_share_as_they_come() -> None:
    row = row_of([[*range(10, 19), FULL_STOP] * 45])
    for index in range(100):
        sample = cut(row, MODES["sentences"], index)
        assert sample.mode == "sentences"
        assert len(sample.spans) == 7  # 70 of 452 tokens; 0.15 is 67.8
        assert all((start - 1) % 10 == 0 and stop - start == 10 for start, stop in sample.spans)
        assert (sample.input_ids_S[: sample.context_length] == IDS.smask_id).sum() == 7


def test_of_a_sentence_longer_than_the_share_the_end_is_blanked() -> None:
    row = long_row()
    row.tokens_S[row.tokens_S == FULL_STOP] = 6
    for index in range(20):
        sample = cut(row, MODES["sentences"], index)
        ((start, stop),) = sample.spans
        assert sample.mode == "sentences"
        assert (start, stop) == (512 - int(0.15 * 512), 512)


def test_a_batch_is_its_samples_side_by_side() -> None:
    documents = [[[10] * 50, [20, 5] * 50], [[*range(6, 200)]], [[]], [[7]], [[*range(10, 24), FULL_STOP] * 8]]
    singles = [row_of(of_row) for of_row in documents] * 8
    width = max(row.tokens_S.size for row in singles)
    rows = Rows(
        np.stack([np.pad(row.tokens_S, (0, width - row.tokens_S.size), constant_values=9) for row in singles]),
        np.stack([np.pad(row.segments_S, (0, width - row.segments_S.size), constant_values=9) for row in singles]),
        np.array([row.tokens_S.size for row in singles]),
    )
    config, most = BlankConfig(), max_spans(width, BlankConfig())
    common = {"ids": IDS, "sentences": Stops(), "config": config, "spans": most}
    blanks = choose_blanks(rows, seed=3, index_B=np.arange(100, 140), **common)  # type: ignore[arg-type]
    batch = layout_rows(rows, blanks, IDS, row_length(width, config))
    assert {MODES_OF_SAMPLES[mode] for mode in blanks.mode_B} == {"none", "tokens", "sentences", "generation"}
    for number, row in enumerate(singles):
        single = blank_infilling(row, seed=3, index=100 + number, **common)  # type: ignore[arg-type]
        single = single.padded(row_length(width, config), IDS.eos_id)
        assert single.input_ids_S.tolist() == batch.input_ids_BS[number].tolist()
        assert single.labels_S.tolist() == batch.labels_BS[number].tolist()
        assert single.position_ids_2S.tolist() == batch.position_ids_B2S[number].tolist()
        assert single.segment_ids_S.tolist() == batch.segment_ids_BS[number].tolist()
        assert single.spans == blanks.spans(number)


def test_generation_of_packed_documents_is_a_prefix_without_an_end_token() -> None:
    row = row_of([[*range(6, 80)], [*range(80, 120)]])
    lengths = []
    for index in range(200):
        sample = cut(row, MODES["generation"], index)
        (start, stop), size = sample.spans[0], row.tokens_S.size
        assert stop == size
        assert not has_end_token(sample)
        assert sample.input_ids_S[start : start + 2].tolist() == [IDS.gmask_id, IDS.sop_id]
        lengths.append(stop - start)
    assert min(lengths) >= 0.25 * size
    assert max(lengths) <= size - 2
    assert max(lengths) > 0.9 * size
    assert min(lengths) < 0.35 * size


def test_generation_within_one_document_is_half_the_time_a_blank_anywhere_with_an_end_token() -> None:
    row = long_row(200)
    samples = [cut(row, MODES["generation"], index) for index in range(400)]
    ended = [has_end_token(sample) for sample in samples]
    assert 0.4 < np.mean(ended) < 0.6
    assert all(sample.spans[0][1] == 200 for sample, end in zip(samples, ended, strict=True) if not end)


def test_modes_come_in_their_proportions() -> None:
    document = [*range(10, 24), FULL_STOP] * 30
    row = row_of([document])
    modes = [cut(row, BlankConfig(), index).mode for index in range(2_000)]
    assert abs(modes.count("tokens") / 2_000 - 0.5) < 0.04
    assert abs(modes.count("sentences") / 2_000 - 0.3) < 0.04
    assert abs(modes.count("generation") / 2_000 - 0.2) < 0.04


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    row = long_row()
    first = cut(row, BlankConfig(), index=7)
    cut(row, BlankConfig(), index=8)
    again = cut(row, BlankConfig(), index=7)
    assert first.spans == again.spans
    assert first.input_ids_S.tolist() == again.input_ids_S.tolist()
    assert cut(row, MODES["tokens"], index=8).spans != cut(row, MODES["tokens"], index=7).spans
    assert cut(row, MODES["tokens"], index=7, seed=2).spans != cut(row, MODES["tokens"], index=7).spans


def test_a_row_without_text_has_no_targets() -> None:
    sample = cut(row_of([[]]), MODES["tokens"])
    assert sample.mode == "none"
    assert (sample.labels_S == NO_LOSS).all()


def test_blanks_keep_the_segment_of_their_document() -> None:
    row = row_of([[10] * 50, [20] * 50, [30] * 50])
    for index in range(50):
        sample = cut(row, MODES["tokens"], index)
        for token, segment in zip(sample.input_ids_S.tolist(), sample.segment_ids_S.tolist(), strict=True):
            assert token not in (10, 20, 30) or segment == token // 10 - 1
        starts = np.flatnonzero(sample.input_ids_S == IDS.sop_id)
        masks = sample.position_ids_2S[0][starts]
        assert sample.segment_ids_S[starts].tolist() == sample.segment_ids_S[masks].tolist()


@pytest.mark.parametrize("lang", ["hi", "th"])
def test_sentences_are_blanked_in_scripts_without_a_full_stop(
    tokenizer: Tokenizer, documents: dict[str, list[str]], lang: str
) -> None:
    tokens = [tokenizer.cls_id, *tokenizer.encode(max(documents[lang], key=len)), tokenizer.eos_id]
    row = Row(np.array(tokens), np.zeros(len(tokens), dtype=np.int64))
    samples = [
        blank_infilling(
            row,
            seed=1,
            index=index,
            ids=tokenizer,
            sentences=SentenceEnds(tokenizer),
            config=MODES["sentences"],
            spans=20,
        )
        for index in range(20)
    ]
    assert all(sample.mode == "sentences" for sample in samples)
    assert all(blanked_share(sample, row) <= 0.3 for sample in samples)


def reference_cases() -> list[tuple[str, dict[str, list[int]], dict[str, list[int]]]]:
    if not REFERENCE.exists():
        return []
    with gzip.open(REFERENCE, "rt") as file:
        cases = json.load(file)["cases"]
    return [
        (
            f"{number}-{case['name']}-{row}",
            case["input"][row],
            {key: values[row] for key, values in case["output"].items() if key != "mode"},
        )
        for number, case in enumerate(cases)
        for row in range(len(case["input"]))
        if D_BLOCK not in case["output"]["text"][row]
    ]


def spans_of_reference(tokens: list[int], output: dict[str, list[int]]) -> tuple[list[tuple[int, int]], int, bool]:
    """The spans the authors cut, in their order, their mask, and whether they end; read off their output."""
    length = int(output["attention_mask"])  # type: ignore[call-overload]
    text, target, scored = output["text"], output["target"], output["loss_mask"]
    positions = output["position_id"][0]
    blanks: list[list[int]] = []
    places = []
    for i in range(length, len(text)):
        if not scored[i]:
            break
        if text[i] == IDS.sop_id:
            blanks.append([])
            places.append(positions[i])  # type: ignore[index]
        blanks[-1].append(target[i])
    ended = blanks[0][-1] == IDS.eop_id
    sizes = [len(blank) - ended for blank in blanks]
    by_place = dict(zip(places, sizes, strict=True))
    starts, start = {}, 0
    for place in range(length):
        if place in by_place:
            starts[place] = start
        start += by_place.get(place, 1)
    assert start == len(tokens)
    spans = [(starts[place], starts[place] + by_place[place]) for place in places]
    return spans, text[places[0]], ended


@pytest.mark.skipif(not REFERENCE.exists(), reason="the authors' samples (shared/reference) are not here")
@pytest.mark.parametrize("case", reference_cases(), ids=lambda case: case[0])
def test_given_the_authors_blanks_our_layout_is_theirs(
    case: tuple[str, dict[str, list[int]], dict[str, list[int]]],
) -> None:
    _, given_input, output = case
    tokens = given_input["text"]
    spans, mask_id, ended = spans_of_reference(tokens, output)
    row = Row(np.array(tokens), np.zeros(len(tokens), dtype=np.int64))
    ours = layout(row, spans, mask_id=mask_id, ids=IDS, end_token=ended).padded(len(output["text"]), 0)
    scored = np.array(output["loss_mask"], dtype=bool)
    assert ours.input_ids_S.tolist() == output["text"]
    assert ours.position_ids_2S.tolist() == output["position_id"]
    assert ours.context_length == output["attention_mask"]
    assert (ours.labels_S != NO_LOSS).tolist() == scored.tolist()
    assert ours.labels_S[scored].tolist() == np.array(output["target"])[scored].tolist()
