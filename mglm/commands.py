"""The front door's own commands: `demo` and `summarize`. Light: what they use loads when they run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import MGLMError
from core.options import SetOption


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


def summarize(
    model: Annotated[Path, typer.Option("--model", help="Hugging Face directory made by `mglm model convert`.")],
    to: Annotated[str, typer.Option("--to", help="Language of the summary: zh or en.")],
    file: Annotated[Path | None, typer.Argument(help="UTF-8 article; standard input without it.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="At most so many tokens; default the model's own.")] = None,
) -> None:
    """Summarise one article into Chinese or English, to standard output."""
    if file is not None and not file.is_file():
        found = "a directory" if file.is_dir() else "no such file"
        raise MGLMError(f"article {file}", found=found, expected="a UTF-8 text file", action="name a file")
    data = file.read_bytes() if file is not None else sys.stdin.buffer.read()
    article = data.decode("utf-8", "replace")
    from model.summarizer import Summarizer

    options = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    print(Summarizer.from_pretrained(model).summarize(article, target=to, **options))
