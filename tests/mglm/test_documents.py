"""README, docs/ and configs/ name only commands, options, files, headings and settings that exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from core.config import RunConfig
from mglm.cli import app
from mglm.sections import SECTION_MODELS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
NAMED = [*PAGES, *CONFIGS]
FOLDERS = "core|corpus|balancing|tokenizer|model|train|eval|serve|mglm|drills|benchmarks|configs|docs|docker|tests"


def options(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command's name, with what stands before it, and its options; a group has none."""
    for word, below in getattr(command, "commands", {}).items():
        inner = f"{name} {word}".strip()
        yield inner, set() if hasattr(below, "commands") else {text for each in below.params for text in each.opts}
        yield from options(below, inner)


COMMANDS = dict(options(typer.main.get_command(app)))


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text("utf-8").replace("\\\n", " ")
    for words, rest in re.findall(r"mglm ((?:[a-z][a-z-]+ ?){1,2})([^`\n|]*)", text):
        stage, _, verb = words.strip().partition(" ")
        if stage not in COMMANDS:  # prose: "mglm makes …"
            continue
        groups = [name for name in COMMANDS if name.startswith(f"{stage} ")]
        assert not (groups and verb) or f"{stage} {verb}" in COMMANDS, f"mglm {words}"
        known = COMMANDS.get(f"{stage} {verb}", COMMANDS[stage])
        if known:
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest.split(" && ")[0])) <= known, f"mglm {words}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_links_and_headings_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:drills|benchmarks)\.\w+)", text):
        assert list(ROOT.glob(module.replace(".", "/") + "*")), module
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if heading:
            assert heading in set(headings(target.read_text("utf-8"))), link


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_config_holds_only_settings_that_there_are(config: Path) -> None:
    run = RunConfig(config)  # its sections are known ones, or this is an error
    stated = tomllib.loads(config.read_text("utf-8"))
    for name, table in stated.items():
        assert table.keys() <= run.section(name, SECTION_MODELS[name]).model_fields_set


@pytest.mark.parametrize("name", ["docs/clusters.md", "docker/kubernetes/pretrain.yaml"])
def test_the_batch_divides_among_every_number_of_hosts_that_a_job_may_go_on_with(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    option = r"--(?:set.pretrain\.)?{}[ =]([\d:]+)"
    hosts, processes, batch, rows = (
        [int(number) for number in re.findall(option.format(word), text)[0].split(":")]
        for word in ("nnodes", "nproc-per-node", "global_batch_size", "micro_batch_size")
    )
    for number in range(hosts[0], hosts[-1] + 1):
        assert batch[0] % (rows[0] * processes[0] * number) == 0, f"{batch[0]} rows on {number} hosts"


def headings(text: str) -> Iterator[str]:
    """The anchors that GitHub gives a page's headings."""
    for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
