"""The stages of the demo, each a command of ours, and what to say of what it made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.languages import UNKNOWN
from core.manifest import MANIFEST_NAME, Manifest, read_manifest


@dataclass(frozen=True)
class DemoStage:
    """`arguments` of `mglm`; `output` and `schema` of what it makes; `describe` says it in a few words."""

    name: str
    arguments: tuple[str, ...]
    output: Path
    schema: str
    describe: Callable[[Manifest], str]

    def manifest(self) -> Manifest:
        return read_manifest(self.output, self.schema)

    def content(self) -> str:
        """A hash of what it made, "" while that is not finished."""
        return self.manifest().content_hash() if (self.output / MANIFEST_NAME).exists() else ""

    def said(self) -> str:
        """What it made, in a few words."""
        return self.describe(self.manifest())


def demo_stages(
    inputs: Sequence[str], examples: Sequence[Path], run: Path, config: Path, overrides: Sequence[str], nproc: int
) -> list[DemoStage]:
    """The whole road: `inputs` are crawled text, `examples` hold the summaries for fine-tuning, `run` takes it all."""
    shared = ["--config", str(config), "--overwrite"]  # the run directory is the demo's own
    for override in overrides:
        shared += ["--set", override]

    def stage(
        name: str, folder: str, schema: str, describe: Callable[[Manifest], str], *arguments: str | Path
    ) -> DemoStage:
        words = [*name.split(), *map(str, arguments), "--output", str(run / folder), *shared]
        return DemoStage(name, tuple(words), run / folder, schema, describe)

    given = [word for source in inputs for word in ("--input", source)]
    given_examples = [word for path in examples for word in ("--input", str(path))]
    plan = run / "plan" / "plan.json"
    processes = ("--nproc", str(nproc))
    return [
        stage("corpus build", "corpus", "documents/1", documents_made, *given),
        stage("balancing fit", "plan", "plan/1", plan_made, "--counts", run / "corpus"),
        stage("balancing sample", "sample", "sample/1", sample_made, "--documents", run / "corpus", "--plan", plan),
        stage("tokenizer train", "tokenizer", "tokenizer/1", tokenizer_made, "--sample", run / "sample"),
        stage(
            "tokenizer shard", "shards", "shards/1", shards_made,
            "--documents", run / "corpus", "--plan", plan, "--tokenizer", run / "tokenizer",
        ),
        stage(
            "train pretrain", "pretrain", "checkpoint/1", checkpoint_made,
            "--shards", run / "shards", "--plan", plan, *processes,
        ),
        stage(
            "model convert", "pretrained", "hf/1", export_made,
            "--from", "megatron", "--to", "hf", "--input", run / "pretrain",
        ),
        stage(
            "eval bits-per-byte", "bits_per_byte", "bits_per_byte/1", bits_per_byte_made,
            "--model", run / "pretrained", "--documents", run / "corpus",
        ),
        stage("eval prepare", "examples", "examples/1", examples_made, "--task", "summaries", *given_examples),
        stage(
            "train finetune", "finetune", "checkpoint/1", checkpoint_made,
            "--init", run / "pretrain", "--examples", run / "examples", *processes,
        ),
        stage(
            "model convert", "model", "hf/1", export_made,
            "--from", "megatron", "--to", "hf", "--input", run / "finetune",
        ),
        stage(
            "eval predict", "predictions", "predictions/1", predictions_made,
            "--model", run / "model", "--examples", run / "examples",
        ),
        stage("eval score", "scores", "scores/1", scores_made, "--predictions", run / "predictions"),
    ]  # fmt: skip


def world_made(manifest: Manifest) -> str:
    return f"{len(manifest.facts['languages'])} languages, {manifest.facts['documents']:,} documents"


def documents_made(manifest: Manifest) -> str:
    facts = manifest.facts
    rejected = sum(facts["rejected"].values())
    return (
        f"{facts['documents']:,} documents of {len(set(manifest.counts) - {UNKNOWN})} languages, "
        f"{facts['duplicates']} duplicates, {rejected} rejected"
    )


def plan_made(manifest: Manifest) -> str:
    rows = next(entry.rows for entry in manifest.files if entry.path == "plan.csv")
    return f"shares of {rows} languages, plot"


def sample_made(manifest: Manifest) -> str:
    return f"{_total(manifest, 'documents'):,} documents, {manifest.facts['bytes'] / 1e6:.1f} MB"


def tokenizer_made(manifest: Manifest) -> str:
    return f"{manifest.facts['pieces']:,} pieces"


def shards_made(manifest: Manifest) -> str:
    return f"{_total(manifest, 'tokens'):,} tokens in {sum(e.path.endswith('.arrow') for e in manifest.files)} files"


def checkpoint_made(manifest: Manifest) -> str:
    return f"{manifest.facts['parameters']:,} parameters, {manifest.facts['steps']} steps"


def export_made(manifest: Manifest) -> str:
    return f"Hugging Face model, {sum(entry.bytes for entry in manifest.files) / 1e6:.0f} MB"


def bits_per_byte_made(manifest: Manifest) -> str:
    return f"{manifest.facts['bits_per_byte']:.3f} bits per byte over {len(manifest.counts)} languages"


def examples_made(manifest: Manifest) -> str:
    return f"{_total(manifest, 'train')} examples to learn from, {_total(manifest, 'heldout')} held out"


def predictions_made(manifest: Manifest) -> str:
    return f"{manifest.facts['predictions']} answers"


def scores_made(manifest: Manifest) -> str:
    return f"{manifest.facts['examples']} answers scored"


def _total(manifest: Manifest, unit: str) -> int:
    return sum(count[unit] for count in manifest.counts.values())
