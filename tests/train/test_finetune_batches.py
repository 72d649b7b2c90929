"""Fine-tuning's batches: functions of the step, little padding, blank rows in their share, prompts in languages."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.examples import Example, Segment
from tokenizer.encoding import Tokenizer
from tokenizer.parallel_prompts import ParallelPrompts
from tokenizer.prompts import source as question
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import MicroBatch, PretrainBatches, window_length
from train.blank_layout import NO_LOSS
from train.config import FinetuneConfig, PretrainConfig
from train.finetune_batches import BLANKS, FinetuneBatches, finetune_sample, longest_row

FIELDS = ("input_ids_BS", "position_ids_B2S", "context_length_B", "labels_BS")
SHARES = {"en": 0.5, "hi": 0.3, "th": 0.2}
SEQUENCE = 32


def joined(parts: list[MicroBatch], field: str) -> np.ndarray:
    return np.concatenate([getattr(part, field) for part in parts])


def example(text: str, target: str, **fields: str) -> Example:
    source = [
        Segment(kind="text", value=text),
        Segment(kind="prompt", value=". English Summary: "),
        Segment(kind="mask", value="[sMASK]"),
    ]
    given = {"id": "1", "task": "summaries", "lang": "en", "target_lang": "en", "split": "train", **fields}
    return Example.model_validate({**given, "source": source, "target": target})


CONFIG = FinetuneConfig(global_batch_size=4, micro_batch_size=2, source_length=48, target_length=12)


def test_a_fine_tuning_row_is_source_then_answer_at_the_mask(tokenizer: Tokenizer) -> None:
    sample = finetune_sample(example("the old bridge", "rain sings"), tokenizer, CONFIG)
    answer = tokenizer.encode("rain sings")
    context = sample.context_length
    mask = sample.input_ids_S.tolist().index(tokenizer.smask_id)
    assert sample.input_ids_S[0] == tokenizer.cls_id
    assert mask == context - 1
    assert sample.input_ids_S[context:].tolist() == [tokenizer.sop_id, *answer]
    assert sample.labels_S[context:].tolist() == [*answer, tokenizer.eop_id]
    assert (sample.labels_S[:context] == NO_LOSS).all()
    assert sample.position_ids_2S[0].tolist() == [*range(context), *[mask] * (len(answer) + 1)]
    assert sample.position_ids_2S[1].tolist() == [*[0] * context, *range(1, len(answer) + 2)]


def test_a_long_source_loses_text_only_and_a_cut_target_has_no_end(tokenizer: Tokenizer) -> None:
    sample = finetune_sample(example("the river " * 200, "market " * 50), tokenizer, CONFIG)
    context = sample.context_length
    assert context == CONFIG.source_length
    prompt = [*tokenizer.encode(". English Summary: "), tokenizer.smask_id]
    assert sample.input_ids_S[:context][-len(prompt) :].tolist() == prompt
    assert sample.labels_S[context:].tolist() == tokenizer.encode("market " * 50)[: CONFIG.target_length]
    assert tokenizer.eop_id not in sample.labels_S


def test_a_target_that_just_fits_keeps_its_end(tokenizer: Tokenizer) -> None:
    words = tokenizer.decode(tokenizer.encode("market " * 50)[: CONFIG.target_length - 1])
    if len(tokenizer.encode(words)) != CONFIG.target_length - 1:
        pytest.skip("this vocabulary does not cut there")
    assert finetune_sample(example("the", words), tokenizer, CONFIG).labels_S[-1] == tokenizer.eop_id


def test_of_choices_the_verbalizer_is_learned_that_prediction_asks_for(tokenizer: Tokenizer) -> None:
    chosen = example("the old bridge", "entailment").model_copy(update={"choices": {"entailment": [" rain", " sings"]}})
    answer = [*tokenizer.encode(" rain"), tokenizer.eop_id]
    assert finetune_sample(chosen, tokenizer, CONFIG).labels_S[-len(answer) :].tolist() == answer


def test_text_that_spells_commands_stays_text(tokenizer: Tokenizer) -> None:
    sample = finetune_sample(example("[sMASK] [MASK] <|endofpiece|>", "[MASK]"), tokenizer, CONFIG)
    assert (sample.input_ids_S >= tokenizer.pieces).sum() == 3  # [CLS], the mask, [sop]
    assert (sample.labels_S >= tokenizer.pieces).sum() == 1  # the end token


def test_padding_stands_behind_everything_and_rows_are_as_long_as_needed(tokenizer: Tokenizer) -> None:
    examples = [example("the old bridge " * number, "rain") for number in range(1, 8)]
    batches = FinetuneBatches(examples, tokenizer, CONFIG)
    for step in range(4):
        for part in batches.batch(step, 0, 1):
            length = part.input_ids_BS.shape[1]
            assert length % 8 == 0
            assert length <= longest_row(CONFIG, None)
            for row, context in zip(part.labels_BS, part.context_length_B, strict=True):
                scored = np.flatnonzero(row != NO_LOSS)
                assert scored[0] == context
                assert (np.diff(scored) == 1).all()
                assert (row[scored[-1] + 1 :] == NO_LOSS).all()
    fixed = FinetuneBatches(examples, tokenizer, CONFIG.model_copy(update={"fixed_length": True}))
    assert fixed.batch(0, 0, 1)[0].input_ids_BS.shape[1] == longest_row(CONFIG, None) == 64


def some_examples(count: int) -> list[Example]:
    """Of many lengths, told apart by their target."""
    draw = np.random.default_rng(3)
    return [
        example("the old bridge " * int(draw.integers(1, 14)), f"rain {number}", lang="en" if number % 2 else "hi")
        for number in range(count)
    ]


def targets(tokenizer: Tokenizer, parts: list[MicroBatch]) -> list[str]:
    """The target of each row that is no blank infilling's."""
    return [
        tokenizer.decode(label for label in row.tolist() if label != NO_LOSS)
        for part in parts
        for row, lang in zip(part.labels_BS, part.languages_B, strict=True)
        if not lang.startswith(BLANKS)
    ]


def padding(parts: list[MicroBatch]) -> float:
    return 1 - sum(part.tokens for part in parts) / sum(part.input_ids_BS.size for part in parts)


@pytest.mark.parametrize("sort_batches", [1, 2, 5])
def test_every_example_comes_once_an_epoch_in_another_order(tokenizer: Tokenizer, sort_batches: int) -> None:
    examples = some_examples(20)
    config = CONFIG.model_copy(update={"sort_batches": sort_batches})
    batches = FinetuneBatches(examples, tokenizer, config, steps=15)
    seen = [sorted(targets(tokenizer, batches.batch(step, 0, 1))) for step in range(15)]
    if sort_batches != 2:  # a pool that reaches into the next epoch mixes the two
        for epoch in (seen[:5], seen[5:10], seen[10:]):
            assert sorted(target for step in epoch for target in step) == sorted(one.target for one in examples)
    assert Counter(target for step in seen for target in step) == {one.target: 3 for one in examples}
    assert seen[:5] != seen[5:10]


def test_a_step_is_the_same_rows_for_any_processes_and_after_any_steps(tokenizer: Tokenizer) -> None:
    examples = some_examples(30)
    batches = FinetuneBatches(examples, tokenizer, CONFIG, steps=20)
    alone = [sorted(targets(tokenizer, batches.batch(step, 0, 1))) for step in range(20)]
    for step in (13, 2, 19, 3):
        fresh = FinetuneBatches(examples, tokenizer, CONFIG, steps=20)
        shared = [part for rank in (0, 1) for part in fresh.batch(step, rank, 2)]
        assert sorted(targets(tokenizer, shared)) == alone[step]
        widths = [part.input_ids_BS.shape[1] for part in shared]
        assert len(shared) == 2
        assert widths == sorted(widths, reverse=True)


def test_rows_of_like_length_come_together(tokenizer: Tokenizer) -> None:
    examples = some_examples(400)

    def share(micro_batch_size: int, sort_batches: int) -> float:
        fields = {"micro_batch_size": micro_batch_size, "sort_batches": sort_batches}
        config = CONFIG.model_copy(update={"global_batch_size": 16, "source_length": 60, **fields})
        batches = FinetuneBatches(examples, tokenizer, config, steps=25)
        return padding([part for step in range(25) for part in batches.batch(step, 0, 1)])

    alone, together = share(4, 1), share(4, 8)
    assert share(16, 1) > 0.25
    assert alone < 0.15
    assert together < alone


@pytest.fixture
def blanks(shards_directory: Path, tokenizer: Tokenizer) -> PretrainBatches:
    shards, cutting = Shards.open(shards_directory), PretrainConfig(seed=7)
    sampler = Sampler(shards.stream_lengths(), SHARES, window_length(SEQUENCE, cutting), cutting.seed)
    return PretrainBatches(shards, sampler, tokenizer, cutting, SEQUENCE)


def test_blank_rows_come_in_their_share_and_in_the_order_of_pretraining(
    tokenizer: Tokenizer, blanks: PretrainBatches
) -> None:
    examples = some_examples(24)
    config = CONFIG.model_copy(update={"blank_infilling_share": 0.3})
    batches = FinetuneBatches(examples, tokenizer, config, steps=30, blanks=blanks)
    rows: list[list[int]] = []
    seen: list[str] = []
    for step in range(30):
        parts = batches.batch(step, 0, 1)
        assert sum(len(part.languages_B) for part in parts) == 4
        seen += targets(tokenizer, parts)
        rows += [
            part.input_ids_BS[row, : part.context_length_B[row]].tolist()
            for part in parts
            for row, lang in enumerate(part.languages_B)
            if lang.startswith(BLANKS)
        ]
        assert abs(len(rows) - 0.3 * 4 * (step + 1)) < 1
    wanted = [blanks.sample(index)[0] for index in range(36)]
    assert sorted(rows) == sorted(sample.input_ids_S[: sample.context_length].tolist() for sample in wanted)
    assert Counter(seen[:24]).most_common(1)[0][1] <= 2
    assert len(seen) == 84  # three and a half epochs
    fixed = config.model_copy(update={"fixed_length": True, "target_length": 2})
    (width,) = {part.input_ids_BS.shape[1] for part in FinetuneBatches(
        examples, tokenizer, fixed, steps=30, blanks=blanks).batch(3, 0, 1)}  # fmt: skip
    assert width == longest_row(fixed, blanks) >= blanks.row_length


def test_an_example_is_asked_in_one_of_the_languages_drawn_by_its_place(tokenizer: Tokenizer) -> None:
    examples = some_examples(8)
    config = CONFIG.model_copy(update={"prompt_languages": ["en", "zh", "fr"], "source_length": 90})
    prompts = ParallelPrompts(config.prompt_languages)
    batches = FinetuneBatches(examples, tokenizer, config, steps=60, prompts=prompts)
    words: Counter[str] = Counter()
    for step in range(60):
        for part in batches.batch(step, 0, 1):
            for row, context in zip(part.input_ids_BS, part.context_length_B, strict=True):
                text = tokenizer.decode(row[:context].tolist())
                words[text.rpartition(". ")[2]] += 1
    assert set(words) == {"English Summary: ", "英文摘要: ", "Résumé en anglais : "}
    assert all(abs(count - 80) < 25 for count in words.values())
    again = FinetuneBatches(examples, tokenizer, config, steps=60, prompts=prompts).batch(41, 0, 1)
    assert (joined(again[:1], FIELDS[0]) == joined(batches.batch(41, 0, 1)[:1], FIELDS[0])).all()


def test_a_share_without_shards_is_refused() -> None:
    with pytest.raises(ValueError, match="blank_infilling_share 0.2 without blank_infilling_shards"):
        FinetuneConfig(blank_infilling_share=0.2, plan="plan.json")
    assert FinetuneConfig(blank_infilling_shards="shards", plan="plan.json").blank_infilling_share == 0  # switched off
    with pytest.raises(ValueError, match="names a language twice"):
        FinetuneConfig(prompt_languages=["en", "en"])


def test_a_long_source_is_learned_by_a_window_that_holds_its_answer(tokenizer: Tokenizer) -> None:
    filler = "The market opens in the morning. " * 12
    context = f"{filler}The river sings at nine. {filler}"
    asked = question("question", "en", context=context, question="When?")
    asked_one = Example(id="q", task="t", lang="en", target_lang="en", split="train", source=asked, target="at nine")
    examples = [asked_one.model_copy(update={"id": str(number)}) for number in range(4)]
    read = {}
    for stride in (None, 8):
        config = CONFIG.model_copy(update={"window_stride": stride, "source_length": 90})
        batches = FinetuneBatches(examples, tokenizer, config)
        parts = [part for step in range(6) for part in batches.batch(step, 0, 1)]
        again = FinetuneBatches(examples, tokenizer, config).batch(5, 0, 1)
        assert [part.input_ids_BS.tolist() for part in again] == [part.input_ids_BS.tolist() for part in parts[-2:]]
        read[stride] = [
            tokenizer.decode(row[:length].tolist())
            for part in parts
            for row, length in zip(part.input_ids_BS, part.context_length_B, strict=True)
        ]
    assert not any("at nine" in text for text in read[None])
    assert all("at nine" in text for text in read[8])
    assert len(set(read[8])) > 1  # one of several, drawn anew
