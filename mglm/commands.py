"""The front door's own commands: `demo`, `summarize`, `config` and others. Light: what they use loads when they run."""

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import MGLMError
from core.options import ConfigOption, SetOption

PAPER_CONFIG = Path(__file__).with_name("large.toml")  # that of configs/, which is not installed


def demo(
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="Your own text, as `mglm corpus build` reads it; repeatable. Default: examples/.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Directory for all that is made.")] = Path("runs/demo"),
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML for all stages; default configs/demo.toml, own_text.toml with --input."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Walk the whole road, from raw text to a report.

    The report, report.html, shows each stage and summaries of an article that none of them read.

    Each stage is one of the other commands, printed as it runs. Finished stages are not redone; run it again after a
    kill and it continues.
    """
    from mglm.demo import run_demo

    run_demo(inputs=input_ or [], output=output, config=config, overrides=set_ or [])


def package(
    output: Annotated[Path, typer.Option("--output", help="The zip to make, e.g. mglm.zip.")],
) -> None:
    """Put the program into one zip, for Spark workers.

    It is for `spark-submit --py-files`; what the program needs is installed on the workers.
    """
    from core.log import get_logger
    from mglm.package import package as make

    get_logger("package").info("%d files in %s", make(output), output)


def delete(
    ids: Annotated[Path | None, typer.Option("--ids", help="File of doc_ids, one a line.")] = None,
    urls: Annotated[Path | None, typer.Option("--urls", help="File of URLs, as the documents have them.")] = None,
    documents: Annotated[Path | None, typer.Option("--documents", help="Directory of `mglm corpus build`.")] = None,
    shards: Annotated[Path | None, typer.Option("--shards", help="Directory of `mglm tokenizer shard`.")] = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="Output of `mglm train pretrain` on these shards; repeatable.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Delete documents from corpus and shards.

    Runs that are named get a record of which of their steps had drawn them.
    """
    from core.config import RunConfig
    from mglm.delete import delete as delete_everywhere

    lines = delete_everywhere(
        documents=documents,
        shards=shards,
        runs=runs or [],
        ids=ids,
        urls=urls,
        run_config=RunConfig(config, set_ or []),
    )
    typer.echo("\n".join(lines))


JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Files on the way at the same time.")]


def push(
    input_: Annotated[Path, typer.Option("--input", help="A finished stage, or a training run that has saved.")],
    output: Annotated[str, typer.Option("--output", metavar="ADDRESS", help="Where to, e.g. s3://bucket/corpus.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Send everything anew, in place of what a push has put there.")
    ] = False,
    jobs: JobsOption = 8,
) -> None:
    """Copy a stage or a run's last checkpoint to an object store.

    What lists the files goes last, so a copy that has it is whole.
    """
    from mglm.transfer import push as send

    typer.echo(send(input_, output, overwrite=overwrite, jobs=jobs))


def pull(
    input_: Annotated[str, typer.Option("--input", metavar="ADDRESS", help="What `mglm push` was given as --output.")],
    output: Annotated[Path, typer.Option("--output", help="A new directory; it appears when it is whole.")],
    jobs: JobsOption = 8,
) -> None:
    """Copy what `mglm push` has completed to a directory.

    Every file is checked against its sha256.
    """
    from mglm.transfer import pull as fetch

    typer.echo(fetch(input_, output, jobs=jobs))


class Precision(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


def summarize(
    model: Annotated[Path, typer.Option("--model", help="Hugging Face directory made by `mglm model convert`.")],
    to: Annotated[str, typer.Option("--to", help="Language of the summary: zh, en, or another it was tuned for.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="UTF-8 article; standard input without it.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", help="At most so many tokens; default the model's own, up to 200.")
    ] = None,
    num_beams: Annotated[int | None, typer.Option("--num-beams", help="Beams; default the model's own, 4.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw tokens, at temperature 0.7, instead of taking the likeliest.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of --sample; default 1.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Write it as it comes; one beam.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …; default the GPU if there is one.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="Of the weights; default bf16 on a GPU, fp32 on a CPU.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Summarise one article into Chinese or English.

    The summary goes to standard output. All settings: [summarize] of --config.
    """
    from core.config import RunConfig
    from model.convert import check_export
    from model.summarize_config import SummarizeConfig
    from tokenizer.prompts import summary_source

    given: dict[str, object] = {
        "max_new_tokens": max_new_tokens,
        "num_beams": num_beams,
        "do_sample": "true" if sample else None,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    overrides = [f"summarize.{name}={value}" for name, value in given.items() if value is not None]
    settings = RunConfig(config, [*(set_ or []), *overrides]).section("summarize", SummarizeConfig)
    if file is not None and not file.is_file():
        found = "a directory" if file.is_dir() else "no such file"
        raise MGLMError(f"article {file}", found=found, expected="a UTF-8 text file", action="name a file")
    summary_source("", to)  # refuses a language without a prompt
    check_export(model)
    article = _read_article(file)

    import torch

    from model.summarizer import Summarizer, SummaryRequest

    summarizer = Summarizer.from_pretrained(
        model,
        settings.device,
        settings.precision,
        long_articles=settings.long_articles,
        max_passages=settings.max_passages,
    )
    torch.manual_seed(settings.seed)
    if not stream:
        summary = str(summarizer.summarize(article, target=to, **settings.generation()))
        if not summary.strip():
            print("the summary is empty: the model ended it at once", file=sys.stderr)
        print(summary)
        return
    for piece in summarizer.stream(SummaryRequest(article, to, settings.generation())):
        print(piece, end="", flush=True)
    print()


def show_config(
    section: Annotated[
        str | None, typer.Argument(metavar="SECTION", help="One section, e.g. pretrain; all without it.")
    ] = None,
) -> None:
    """Print every setting, its default and what it means.

    The output is a config file: save it, change it, pass it as --config.
    """
    from core.config import check_section
    from mglm.config_page import config_page
    from mglm.sections import SECTION_MODELS

    if section is not None:
        check_section(f"config section {section}", section)
    print(config_page(SECTION_MODELS if section is None else {section: SECTION_MODELS[section]}))


def estimate(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file with a section for each stage; default: the paper's, large.toml."),
    ] = None,
    set_: SetOption = None,
    vocab_size: Annotated[
        int | None,
        typer.Option("--vocab-size", min=1, help="Rows of the vocabulary, padding included; default: [tokenizer]'s."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of Markdown.")] = False,
) -> None:
    """Estimate what a run takes, from hours to euros.

    Core-hours, GPU-hours, days, disk, network, memory and, with prices, euros.

    Reads [estimate] (the crawl and the machines), [model] and [pretrain]; without --config it is the paper's run.
    """
    from balancing.config import BalancingConfig
    from core.config import RunConfig
    from core.log import get_logger
    from mglm.estimate import DataConfig
    from mglm.estimate import estimate as reckon
    from mglm.estimate_config import EstimateConfig
    from mglm.estimate_page import markdown
    from model.config import ModelConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.encoding import padded_rows
    from train.config import PretrainConfig

    if config is None:
        config = PAPER_CONFIG
        get_logger("estimate").info("no --config: the paper's run, %s", config)
    run = RunConfig(config, set_ or ())
    section, tokenizer = run.section("estimate", EstimateConfig), run.section("tokenizer", TokenizerConfig)
    sample_bytes = run.section("balancing", BalancingConfig).sample_bytes
    data = DataConfig(sample_bytes, tokenizer.training_bytes, tokenizer.num_threads)
    rows = vocab_size or padded_rows(tokenizer.vocab_size)
    made = reckon(section, run.section("model", ModelConfig), run.section("pretrain", PretrainConfig), data, rows)
    print(json.dumps(asdict(made)) if as_json else markdown(made, section), end="\n" if as_json else "")


def _read_article(file: Path | None) -> str:
    """A UTF-8 file, or standard input; bytes that are not UTF-8 are replaced."""
    if file is None and sys.stdin.isatty():
        print("reading the article from the terminal; end it with Ctrl-D", file=sys.stderr)
    data = file.read_bytes() if file is not None else sys.stdin.buffer.read()
    article = data.decode("utf-8", "replace")
    if not article.strip():
        raise MGLMError("the article", found="an empty text", action="give a file, or text on standard input")
    return article
