"""The program as one zip, for `spark-submit --py-files`: every module and data file of ours, nothing that it needs.

Python imports from it as it is, in the driver and in the workers; data files are read through importlib.resources. The
same sources make the same bytes.
"""

import os
import zipfile
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from core.errors import MGLMError

PACKAGES = ("balancing", "core", "corpus", "eval", "mglm", "model", "serve", "tokenizer", "train")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that zip knows
_MADE = ("__pycache__", ".pyc")


def package(output: Path) -> int:
    """Writes the zip; returns how many files are in it.

    Raises:
        MGLMError: another name than `*.zip`, which Spark would not put on Python's path; or no place for a file.
    """
    if output.suffix != ".zip" or output.is_dir():
        found = "a directory" if output.is_dir() else f"the suffix {output.suffix or 'missing'}"
        raise MGLMError(f"output {output}", found=found, expected="a name that ends in .zip, as Spark wants it")
    if not output.parent.is_dir():
        raise MGLMError(f"output {output}", found=f"no directory {output.parent}", action="make it first")
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    number = 0
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name in PACKAGES:
                for path, content in _files(resources.files(name), name):
                    archive.writestr(zipfile.ZipInfo(path, _EPOCH), content, zipfile.ZIP_DEFLATED)
                    number += 1
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    return number


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.name.endswith(_MADE) or child.name.startswith("."):
            continue
        if child.is_dir():
            yield from _files(child, f"{path}/{child.name}")
        else:
            yield f"{path}/{child.name}", child.read_bytes()
