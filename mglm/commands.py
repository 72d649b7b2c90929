"""The front door's own commands: `demo` and `summarize`. Light: what they use loads when they run."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import MGLMError
from core.options import ConfigOption, SetOption


def demo(
    input_: Annotated[
        list[Path] | None,
        typer.Option("--input", help="Your own JSONL (plain or .gz) with a `text` field; repeatable."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Directory for all that is made.")] = Path("runs/demo"),
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML for all stages; default configs/demo.toml, own_text.toml with --input."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Walk the whole road, from raw text to a summary of an unseen article and report.html.

    Each stage is one of the other commands, printed as it runs. Finished stages are not redone; run it again after a
    kill and it continues.
    """
    from mglm.demo import run_demo

    run_demo(inputs=input_ or [], output=output, config=config, overrides=set_ or [])


class Precision(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


def summarize(
    model: Annotated[Path, typer.Option("--model", help="Hugging Face directory made by `mglm model convert`.")],
    to: Annotated[str, typer.Option("--to", help="Language of the summary: zh or en.")],
    file: Annotated[Path | None, typer.Argument(help="UTF-8 article; standard input without it.")] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", help="At most so many tokens; default the model's own, up to 200.")
    ] = None,
    num_beams: Annotated[int | None, typer.Option("--num-beams", help="Beams; default the model's own, 4.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw tokens, at temperature 0.7, instead of taking the likeliest.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Of --sample; default 1.")] = None,
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
    """Summarise one article into Chinese or English, to standard output. All settings: [summarize] of --config."""
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

    import torch

    from model.summarizer import Summarizer, SummaryRequest

    check_export(model)
    article = _read_article(file)
    summarizer = Summarizer.from_pretrained(model, settings.device, settings.precision)
    torch.manual_seed(settings.seed)
    if not stream:
        print(summarizer.summarize(article, target=to, **settings.generation()))
        return
    for piece in summarizer.stream(SummaryRequest(article, to, settings.generation())):
        print(piece, end="", flush=True)
    print()


def _read_article(file: Path | None) -> str:
    """A UTF-8 file, or standard input; bytes that are not UTF-8 are replaced."""
    if file is None and sys.stdin.isatty():
        print("reading the article from the terminal; end it with Ctrl-D", file=sys.stderr)
    data = file.read_bytes() if file is not None else sys.stdin.buffer.read()
    article = data.decode("utf-8", "replace")
    if not article.strip():
        raise MGLMError("the article", found="an empty text", action="give a file, or text on standard input")
    return article
