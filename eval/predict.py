"""Makes predictions/1: a model writes the target of every held-out example, batch by batch.

Each finished batch is appended to a work file, so a killed run continues with the next. The batches are cut before
the first is written and a half-recorded one is done anew, so a resumed run writes what an uninterrupted one does.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from core.documents import document_id, uniform
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, Segment, read_examples
from core.log import get_logger
from core.manifest import Manifest, Stage, open_stage, read_manifest
from core.progress import progress
from eval.config import EvalConfig
from eval.predictions import FILE_NAME, PREDICTIONS, Prediction
from model.convert import HF

WORK_FILE = "written.jsonl"

Writer = Callable[[Sequence[Sequence[Segment]]], list[str]]  # the sources of a batch → what the model writes for each

_log = get_logger("eval")


def predict(
    model: Path,
    examples: Path,
    output: Path,
    config: EvalConfig,
    *,
    limit: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Writes predictions for the held-out examples, at most `limit` of them spread over the language pairs.

    Raises:
        MGLMError: no model or no examples there, lengths the model has no positions for, or nothing held out.
    """
    inputs = {
        "model": read_manifest(model, HF).content_hash(),
        "examples": read_manifest(examples, EXAMPLES).content_hash(),
    }
    _check_lengths(model, config)
    chosen = select(read_examples(examples / "heldout.jsonl"), config.max_examples_per_pair, limit)
    if not chosen:
        raise MGLMError(
            f"{examples}",
            found="no held-out example",
            expected="at least one",
            action="prepare more records, or with a larger eval.heldout_share",
        )
    settings = config.decoding() | {"max_examples_per_pair": config.max_examples_per_pair, "limit": limit}
    stage = open_stage(output, schema=PREDICTIONS, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    from eval.writer import load_writer

    manifest = write_predictions(stage, chosen, load_writer(model, config), config.batch_size)
    _log.info("wrote %d predictions in %.1f s: %s", len(chosen), manifest.made["wall_s"], output)
    return manifest


def _check_lengths(model: Path, config: EvalConfig) -> None:
    positions = int(json.loads((model / "config.json").read_text("utf-8"))["max_position_embeddings"])
    # A span begins with a token of its own, [sop].
    wanted = {"max_source_tokens": config.max_source_tokens or 0, "max_new_tokens": config.max_new_tokens + 1}
    for name, tokens in wanted.items():
        if tokens > positions:
            raise MGLMError(
                f"eval.{name}",
                found=f"{tokens} positions",
                expected=f"at most the {positions} of the model {model}",
                action=f"lower it, e.g. --set eval.{name}={positions // 2}",
            )


def select(examples: Iterable[Example], per_pair: int | None, limit: int | None) -> list[Example]:
    """At most `per_pair` examples of each pair of languages and `limit` in all, by hash, in the order given.

    Within `limit` every pair gets one before any gets its second.
    """
    pairs: dict[tuple[str, str], list[tuple[float, int, Example]]] = defaultdict(list)
    for place, example in enumerate(examples):
        draw = uniform(document_id(example.id), "predict")
        pairs[example.lang, example.target_lang].append((draw, place, example))
    ranked = [
        (rank, key, place, example)
        for key, group in pairs.items()
        for rank, (_, place, example) in enumerate(sorted(group, key=lambda item: item[:2])[:per_pair])
    ]
    ranked.sort(key=lambda item: item[:3])
    return [example for _, _, _, example in sorted(ranked[:limit], key=lambda item: item[2])]


def write_predictions(stage: Stage, examples: Sequence[Example], write: Writer, batch_size: int) -> Manifest:
    """Lets `write` do the batches that the work file lacks, then finishes the stage."""
    work_file = stage.work / WORK_FILE
    written = _written(work_file)
    # Sources of like length together: a batch takes the time of its longest.
    ordered = sorted(examples, key=lambda example: (sum(len(part.value) for part in example.source), example.id))
    with work_file.open("a", encoding="utf-8") as file, progress("predicting", len(examples)) as bar:
        for start in range(0, len(ordered), batch_size):
            batch = ordered[start : start + batch_size]
            if any(example.id not in written for example in batch):
                for example, text in zip(batch, write([example.source for example in batch]), strict=True):
                    written[example.id] = _prediction(example, text)
                    file.write(written[example.id].model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            bar.advance(len(batch))
    with (stage.output / FILE_NAME).open("w", encoding="utf-8") as final:
        final.writelines(written[example.id].model_dump_json() + "\n" for example in examples)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        counts[example.lang][example.target_lang] += 1
    empty = sum(not written[example.id].prediction for example in examples)
    return stage.finish(
        rows={FILE_NAME: len(examples)},
        counts={lang: dict(sorted(targets.items())) for lang, targets in sorted(counts.items())},
        facts={"predictions": len(examples), "empty": empty},
    )


def _prediction(example: Example, text: str) -> Prediction:
    return Prediction(
        id=example.id, lang=example.lang, target_lang=example.target_lang, reference=example.target, prediction=text
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
