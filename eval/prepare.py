"""Makes examples/1: train.jsonl and heldout.jsonl of a task, and rejected.jsonl with what could not be used, and why.

Nothing vanishes: records in = records with examples + records without a summary + rejected records, in the manifest.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from core.errors import MGLMError
from core.examples import EXAMPLES
from core.log import get_logger
from core.manifest import Manifest, inputs_of_files, open_stage
from eval.config import EvalConfig
from eval.summaries import Outcome, Rejected, Unsummarised, read_summaries

TASKS: dict[str, Callable[[list[Path], float], Iterator[Outcome]]] = {"summaries": read_summaries}

_log = get_logger("eval")


def prepare(task: str, inputs: list[Path], output: Path, config: EvalConfig, *, overwrite: bool = False) -> Manifest:
    """Reads records, writes examples, returns the manifest: counts per language, facts about the rest.

    Raises:
        MGLMError: an unknown task, a missing or empty input, or no usable record at all.
    """
    if task not in TASKS:
        raise MGLMError("--task", found=task, expected=f"one of {', '.join(TASKS)}")
    for path in inputs:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
            raise MGLMError(f"input {path}", found=found, expected="a JSONL file", action="check --input")
        if path.stat().st_size == 0:
            raise MGLMError(f"input {path}", found="an empty file", expected="JSONL records", action="check --input")
    stage = open_stage(
        output,
        schema=EXAMPLES,
        config={"task": task, "heldout_share": config.heldout_share},
        inputs=inputs_of_files(inputs),
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows: Counter[str] = Counter()
    tally: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    paths = {name: output / f"{name}.jsonl" for name in ("train", "heldout", "rejected")}
    files = {name: path.open("w", encoding="utf-8") for name, path in paths.items()}
    try:
        for outcome in TASKS[task](inputs, config.heldout_share):
            tally["records_in"] += 1
            if isinstance(outcome, Rejected):
                files["rejected"].write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
                rows["rejected.jsonl"] += 1
                reasons[outcome.reason] += 1
            elif isinstance(outcome, Unsummarised):
                tally["records_without_summary"] += 1
            else:
                tally["records_with_examples"] += 1
                for example in outcome:
                    files[example.split].write(example.model_dump_json() + "\n")
                    rows[f"{example.split}.jsonl"] += 1
                    counts[example.lang][example.split] += 1
    finally:
        for file in files.values():
            file.close()
    rejected = rows["rejected.jsonl"]
    assert tally["records_in"] == tally["records_with_examples"] + tally["records_without_summary"] + rejected
    if not tally["records_with_examples"]:
        shutil.rmtree(output)  # there is nothing to continue
        raise MGLMError(
            f"input {', '.join(map(str, inputs))}",
            found=f"no usable record among {tally['records_in']}"
            + "".join(f", {times} times {reason}" for reason, times in reasons.most_common(3)),
            expected="records with id, text and summary_en or summary_zh",
            action="mend the input",
        )
    manifest = stage.finish(
        rows={path.name: rows[path.name] for path in paths.values()},
        counts={lang: {name: counts[lang][name] for name in ("train", "heldout")} for lang in sorted(counts)},
        facts={**tally, "records_without_summary": tally["records_without_summary"], "rejected": dict(reasons)},
    )
    if rejected:
        _log.warning("%d of %d records rejected, see %s", rejected, tally["records_in"], paths["rejected"])
    _log.info(
        "prepared %d training and %d held-out examples in %d languages in %.1f s: %s",
        rows["train.jsonl"], rows["heldout.jsonl"], len(counts), manifest.made["wall_s"], output,
    )  # fmt: skip
    return manifest
