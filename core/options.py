"""Options that every command shares, so that they are spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file with a section for each stage.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a config field; repeatable.")
]
OutputOption = Annotated[Path, typer.Option("--output", help="Directory to make; finished work there is not redone.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace other work of this command there.")]
