"""`mglm serve`: the options; everything else loads when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, SetOption


def serve(
    model: Annotated[Path, typer.Option("--model", help="Hugging Face directory made by `mglm model convert`.")],
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default 8000; 0 takes a free one.")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Bearer tokens, one a line; or set MGLM_SERVE_TOKENS.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="No tokens even where others reach the service.")] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …; the GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="fp32, bf16 or int8.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Serve summaries over HTTP, with a page to try it at /. The limits are fields of [serve]."""
    from core.config import RunConfig
    from serve.config import ServeConfig
    from serve.run import run

    run_config = RunConfig(config, set_ or ())
    given = {
        "host": host, "port": port, "device": device, "precision": precision, "auth": False if no_auth else None,
        "token_file": str(token_file) if token_file is not None else None,
    }  # fmt: skip
    run_config.take_options("serve", **given)
    run(model, run_config.section("serve", ServeConfig))
