"""The whole road on one machine: every stage as its own command and process, then one page that shows what came out.

Nothing is special to the demo: each stage is the command a user would type, with its config from one TOML file. What is
finished is not redone; after a kill the same command continues.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from core.config import RunConfig
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, hash_of, inputs_of_files, write_atomically
from corpus.config import CorpusConfig
from corpus.inputs import find_inputs
from mglm.sections import SECTION_MODELS, DemoConfig
from mglm.stages import DemoStage, demo_stages
from mglm.walk import say, walk

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "examples" / "documents.jsonl"
RECORD_NAME = "demo.json"  # what the last complete walk was made of
REPORT_NAME = "report.html"


def run_demo(inputs: Sequence[str], output: Path, config: Path | None, overrides: Sequence[str]) -> Path:
    """Walks all stages, writes report.html and returns its path.

    `inputs` are whatever `mglm corpus build` reads; without any, the texts of examples/. Fine-tuning always learns
    from the summaries in examples/.

    Raises:
        MGLMError: an input is missing or empty, or a stage failed; finished stages stay.
    """
    sources = list(inputs) or [str(EMBEDDED)]
    config = config or ROOT / "configs" / ("own_text.toml" if inputs else "demo.toml")
    settings = checked_config(config, overrides)
    files = find_inputs(sources, RunConfig(config, overrides).section("corpus", CorpusConfig))
    for given in sources:
        if Path(given).is_dir() and output.resolve().is_relative_to(Path(given).resolve()):
            expected = "one outside of it: what the stages write would be more input the next time"
            raise MGLMError(f"--output {output}", found=f"a directory inside --input {given}", expected=expected)
    stages = demo_stages(sources, [EMBEDDED], output, config, overrides, settings.processes)
    identities = {file.path: file.identity for file in files} | inputs_of_files([EMBEDDED])
    identity = hash_of([config.read_text("utf-8"), list(overrides), identities])
    report = output / REPORT_NAME
    if report.exists() and _walked_before(output, stages, identity):
        say(f"nothing to do: all {len(stages)} stages were made before from the same input and config")
        say(f"report: {report}")
        return report
    (output / "logs").mkdir(parents=True, exist_ok=True)
    say(f"{len(stages)} stages into {output}, each a command of its own; logs in {output / 'logs'}")
    started = time.monotonic()
    for number, stage in enumerate(stages, start=1):
        walk(stage, number, len(stages), output)
    from mglm.material import gather
    from mglm.report import write_report

    page_started = time.monotonic()
    write_report(report, gather(output, sources, files, EMBEDDED, stages))
    hashes = {stage.output.name: stage.manifest().content_hash() for stage in stages}
    write_atomically(output / RECORD_NAME, json.dumps({"identity": identity, "stages": hashes}, indent=1))
    say(f"report and summaries of an unseen article  ({time.monotonic() - page_started:.1f} s)")
    say(f"done in {time.monotonic() - started:.0f} s; open {report}")
    return report


def checked_config(config: Path, overrides: Sequence[str]) -> DemoConfig:
    """Every section, so that a slip in one of the last stages does not show after minutes."""
    run = RunConfig(config, overrides)
    for name, model in SECTION_MODELS.items():
        run.section(name, model)
    return run.section("demo", DemoConfig)


def _walked_before(output: Path, stages: Sequence[DemoStage], identity: str) -> bool:
    record = output / RECORD_NAME
    if not record.exists():
        return False
    known = json.loads(record.read_text("utf-8"))
    if known.get("identity") != identity or not all((s.output / MANIFEST_NAME).exists() for s in stages):
        return False
    return all(known["stages"].get(s.output.name) == s.manifest().content_hash() for s in stages)
