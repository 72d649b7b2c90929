"""Makes predictions/1: a model writes the target of every held-out example, batch by batch.

Each finished batch is appended to a work file, so a killed run continues with the next. The batches are cut before
the first is written and a half-recorded one is done anew, so a resumed run writes what an uninterrupted one does.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.documents import document_id, uniform
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, ExampleFile
from core.log import get_logger
from core.manifest import Manifest, read_manifest
from core.progress import progress
from core.stage import Stage, open_stage
from eval.answers import postprocessed
from eval.config import EvalConfig
from eval.lengths import check_lengths
from eval.predictions import FILE_NAME, PREDICTIONS, Prediction
from eval.records import item_of
from model.peer_directory import model_identity

WORK_FILE = "written.jsonl"
SPLITS = ("heldout", "dev")  # that may be answered: nobody is measured on what was trained on


@dataclass(frozen=True)
class Written:
    """What a model wrote; of a source read in `windows`, the answer from the window of highest `score`. A source that
    was condensed was read in `passages` and `rounds`; `left_out_tokens` of it were not read."""

    text: str
    score: float | None = None
    windows: int = 1
    window: int = 0
    passages: int = 1
    rounds: int = 0
    left_out_tokens: int = 0


Writer = Callable[[Sequence[Example]], list[Written]]  # a batch of examples → the answer to each

_log = get_logger("eval")


def predict(
    model: Path,
    examples: Path,
    output: Path,
    config: EvalConfig,
    *,
    limit: int | None = None,
    split: str = "heldout",
    overwrite: bool = False,
) -> Manifest:
    """Writes predictions for the held-out examples, or those of another `split`; at most `limit` of them, spread over
    the language pairs.

    Raises:
        MGLMError: no model or no examples there, lengths the model has no positions for, or nothing held out.
    """
    if split not in SPLITS:
        raise MGLMError("--split", found=split, expected=" or ".join(SPLITS))
    made = read_manifest(examples, EXAMPLES)
    inputs = {"model": model_identity(model), "examples": made.content_hash()}
    task: dict[str, Any] = made.facts.get("task", {})
    decoding = config.decoding(task.get("decoding"))
    check_lengths(model, decoding)
    path = examples / f"{split}.jsonl"
    if not path.exists():
        found, action = f"no {path.name}", "name another --split, or prepare a task that has one"
        raise MGLMError(f"{examples}", found=found, expected="examples of this split", action=action)
    chosen = select(ExampleFile(path), config.max_examples_per_pair, limit)
    if not chosen:
        raise MGLMError(
            f"{examples}",
            found=f"no {split.replace('heldout', 'held-out')} example",
            expected="at least one",
            action="prepare more records, or with a larger eval.heldout_share",
        )
    settings = decoding | {"max_examples_per_pair": config.max_examples_per_pair, "limit": limit}
    if split != "heldout":
        settings["split"] = split
    stage = open_stage(output, schema=PREDICTIONS, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    from eval.writer import load_writer

    write = load_writer(model, decoding, config.batch_size, trust_remote_code=config.trust_remote_code)
    manifest = write_predictions(stage, chosen, write, config.batch_size, task=task, decoding=decoding)
    _log.info("wrote %d predictions in %.1f s: %s", len(chosen), manifest.made["wall_s"], output)
    return manifest


def select(examples: Sequence[Example], per_pair: int | None, limit: int | None) -> list[Example]:
    """At most `per_pair` examples of each pair of languages and `limit` in all, by hash, in the order given.

    A question that stands in several languages is chosen in all of them or in none, so that these compare. Within
    `limit` every pair gets one before any gets its second.
    """
    pairs: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for place, example in enumerate(examples):
        item = item_of(example.id, example.target_lang)
        pairs[example.lang, example.target_lang].append((uniform(document_id(item), "predict"), place))
    ranked = [
        (rank, key, place) for key, group in pairs.items() for rank, (_, place) in enumerate(sorted(group)[:per_pair])
    ]
    return [examples[place] for place in sorted(place for _, _, place in sorted(ranked)[:limit])]


def write_predictions(
    stage: Stage,
    examples: Sequence[Example],
    write: Writer,
    batch_size: int,
    *,
    task: Mapping[str, Any] | None = None,
    decoding: Mapping[str, Any] | None = None,
) -> Manifest:
    """Lets `write` do the batches that the work file lacks, then finishes the stage."""
    work_file = stage.work / WORK_FILE
    written = _written(work_file)
    steps: Sequence[str] = (task or {}).get("postprocess", ())
    settings = dict(decoding or {})
    # Sources of like length together: a batch takes the time of its longest.
    ordered = sorted(examples, key=lambda example: (sum(len(part.value) for part in example.source), example.id))
    with work_file.open("a", encoding="utf-8") as file, progress("predicting", len(examples)) as bar:
        for start in range(0, len(ordered), batch_size):
            batch = ordered[start : start + batch_size]
            if any(example.id not in written for example in batch):
                for example, answer in zip(batch, write(batch), strict=True):
                    written[example.id] = _prediction(example, answer, steps, settings)
                    file.write(written[example.id].model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            bar.advance(len(batch))
    with (stage.output / FILE_NAME).open("w", encoding="utf-8") as final:
        final.writelines(written[example.id].model_dump_json(exclude_defaults=True) + "\n" for example in examples)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        counts[example.lang][example.target_lang] += 1
    cut = sum(written[example.id].left_out_tokens > 0 for example in examples)
    if cut:
        left_out = sum(written[example.id].left_out_tokens for example in examples)
        note = "%d of %d texts are longer than the model reads at once: %d of their tokens were left out; %s"
        action = "--set eval.long_articles=passages reads all of them"
        if settings.get("long_articles") == "passages":
            action = "eval.max_passages is the reason"
        if any(example.choices for example in examples):
            action = "labels are chosen without passages: a model that reads more, or a larger eval.max_source_tokens"
        _log.warning(note, cut, len(examples), left_out, action)
    empty = sum(not written[example.id].prediction for example in examples)
    return stage.finish(
        rows={FILE_NAME: len(examples)},
        counts={lang: dict(sorted(targets.items())) for lang, targets in sorted(counts.items())},
        facts={
            "predictions": len(examples),
            "empty": empty,
            "in_windows": sum(written[example.id].windows > 1 for example in examples),
            "in_passages": sum(written[example.id].passages > 1 for example in examples),
            "cut": cut,
            "task": dict(task or {}),
        },
    )


def _prediction(example: Example, answer: Written, steps: Sequence[str], decoding: dict[str, Any]) -> Prediction:
    return Prediction(
        id=example.id,
        lang=example.lang,
        target_lang=example.target_lang,
        reference=example.target,
        prediction=postprocessed(answer.text, steps),
        references=example.references,
        source="\n".join(segment.value for segment in example.source if segment.kind == "text"),
        score=answer.score,
        windows=answer.windows,
        window=answer.window,
        passages=answer.passages,
        rounds=answer.rounds,
        left_out_tokens=answer.left_out_tokens,
        task=example.task,
        decoding=decoding,
    )


def _written(work_file: Path) -> dict[str, Prediction]:
    """What a killed run recorded. Its last line may be torn: it is cut off, so that the next one starts clean."""
    written: dict[str, Prediction] = {}
    if not work_file.exists():
        return written
    whole = 0
    with work_file.open("rb") as file:
        for line in file:
            try:
                prediction = Prediction.model_validate_json(line)
            except ValidationError:
                break
            if not line.endswith(b"\n"):
                break
            written[prediction.id] = prediction
            whole += len(line)
    os.truncate(work_file, whole)
    return written
