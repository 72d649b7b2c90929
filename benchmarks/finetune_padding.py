"""How much of fine-tuning's rows is padding: rows as they come, and put in order of length over 1, 8 and 32 steps.

    python -m benchmarks.finetune_padding

SciTLDR (abstracts) and XQuAD (paragraphs with questions, in eleven languages) where they lie beside the project, else
the summaries of examples/. Batches are those of configs/finetune_*.toml, for one process and for eight.
"""

import argparse
import gzip
import io
import json
from pathlib import Path

import sentencepiece

from benchmarks.record import write_record
from core.examples import Example
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import source
from train.config import FinetuneConfig
from train.finetune_batches import ROW_MULTIPLE, FinetuneBatches, finetune_sample

ROOT = Path(__file__).parents[1]
EVAL = ROOT.parent / "shared" / "data" / "eval"
SORTED = (1, 8, 32)
BATCH, MICRO = 128, 8
VOCABULARY = 8_000


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    columns = ["examples", "tokens a row", "processes", "one length a process and step"]
    columns += [f"in order over {steps} steps" for steps in SORTED]
    rows = []
    for name, (examples, source_length, target_length) in material().items():
        tokenizer = made_tokenizer(examples)
        config = FinetuneConfig(
            global_batch_size=BATCH, micro_batch_size=MICRO, source_length=source_length, target_length=target_length
        )
        sizes = [finetune_sample(example, tokenizer, config).labels_S.size for example in examples]
        steps = len(examples) // BATCH
        for processes in (1, 8):
            before = as_they_come(examples, tokenizer, config, steps, processes)
            after = []
            for number in SORTED:
                chosen = config.model_copy(update={"sort_batches": number})
                batches = FinetuneBatches(examples, tokenizer, chosen, steps=steps)
                parts = [
                    part
                    for step in range(steps)
                    for rank in range(processes)
                    for part in batches.batch(step, rank, processes)
                ]
                after.append(1 - sum(p.tokens for p in parts) / sum(p.input_ids_BS.size for p in parts))
            shares = [f"{share:.1%}" for share in (before, *after)]
            rows.append([f"{name}, {len(examples):,}", round(sum(sizes) / len(sizes)), processes, *shares])
    write_record(
        "finetune_padding",
        "Padding in fine-tuning's rows",
        columns,
        rows,
        remarks=[
            f"Share of positions that are padding, over an epoch; batches of {BATCH} rows, {MICRO} to a micro-batch, "
            f"rows padded to multiples of {ROW_MULTIPLE}, {VOCABULARY:,} pieces made of the same texts.",
            "Left: all rows of a process in a step as long as its longest, examples in the order drawn. Then: "
            "micro-batches of rows of like length, each as long as its longest.",
        ],
    )


def as_they_come(
    examples: list[Example], tokenizer: Tokenizer, config: FinetuneConfig, steps: int, processes: int
) -> float:
    """The share without any order: the epoch's examples as drawn, the rows of a process's step of one length."""
    unsorted = FinetuneBatches(examples, tokenizer, config.model_copy(update={"sort_batches": 1}), steps=steps)
    tokens = positions = 0
    share = BATCH // processes
    for step in range(steps):
        lines = [unsorted._example_line(index) for index in range(step * BATCH, (step + 1) * BATCH)]
        sizes = [line.sample.labels_S.size for line in lines]
        for start in range(0, BATCH, share):
            longest = -(-max(sizes[start : start + share]) // ROW_MULTIPLE) * ROW_MULTIPLE
            positions += longest * share
        tokens += sum(sizes)
    return 1 - tokens / positions


def material() -> dict[str, tuple[list[Example], int, int]]:
    """Name → examples, with the lengths of their configs."""
    if not EVAL.is_dir():
        records = [json.loads(line) for line in (ROOT / "examples" / "documents.jsonl").open(encoding="utf-8")]
        pairs = [(one["text"], one["summary_en"]) for one in records if one.get("summary_en")]
        return {"examples/": ([made("tldr", target, text=text) for text, target in pairs] * 3, 608, 160)}
    papers = [json.loads(line) for line in (EVAL / "scitldr" / "train.jsonl").open(encoding="utf-8")]
    titles = [made("tldr", paper["target"][0], text=" ".join(paper["source"])) for paper in papers]
    questions = []
    for path in sorted((EVAL / "xquad").glob("*.json.gz")):
        for article in json.loads(gzip.decompress(path.read_bytes()))["data"]:
            for paragraph in article["paragraphs"]:
                for one in paragraph["qas"][:2]:
                    answer = one["answers"][0]["text"]
                    texts = {"context": paragraph["context"], "question": one["question"]}
                    questions.append(made("question", answer, **texts))
    return {"SciTLDR": (titles, 608, 160), "XQuAD": (questions, 512, 64)}


def made(prompt: str, target: str, **texts: str) -> Example:
    segments = source(prompt, "en", **texts)
    return Example(id="0", task=prompt, lang="en", target_lang="en", split="train", source=segments, target=target)


def made_tokenizer(examples: list[Example]) -> Tokenizer:
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([part.value for one in examples[::2] for part in one.source if part.kind == "text"]),
        model_writer=file, vocab_size=VOCABULARY, byte_fallback=True, hard_vocab_limit=False, num_threads=1,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, minloglevel=2,
        character_coverage=0.9995, max_sentence_length=100_000,
    )  # fmt: skip
    return Tokenizer(file.getvalue())


if __name__ == "__main__":
    main()
