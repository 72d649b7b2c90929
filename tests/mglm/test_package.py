import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from core.errors import MGLMError
from mglm.commands import PAPER_CONFIG
from mglm.package import PACKAGES, package
from mglm.world_run import CONFIG

ROOT = Path(__file__).parents[2]
USES_DATA = """
import core.languages, core.scripts, corpus.script_lengths, tokenizer.encoding, mglm.cli
assert ".zip" in core.languages.__file__
print(core.languages.language_name('de'), core.scripts.script_of('мир'))
"""


def test_the_program_runs_from_its_zip_with_all_its_data(tmp_path: Path) -> None:
    assert package(tmp_path / "mglm.zip") == len(zipfile.ZipFile(tmp_path / "mglm.zip").namelist())
    environment = {"PYTHONPATH": str(tmp_path / "mglm.zip"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", USES_DATA], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["German", "Cyrl"]


def test_settings_that_commands_take_by_themselves_are_those_of_configs_and_are_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        installed = tomllib.load(file)["tool"]["setuptools"]["package-data"]["mglm"]
    for path in (PAPER_CONFIG, CONFIG):
        assert path.parent == ROOT / "mglm"
        assert path.name in installed
        assert path.samefile(ROOT / "configs" / path.name)
    docker = ROOT / "docker"  # without configs/ the links lead nowhere, and the wheel would lack them without a word
    assert "COPY configs configs\n" in (docker / "Dockerfile").read_text("utf-8")
    assert "!configs\n" in (docker / "Dockerfile.dockerignore").read_text("utf-8")


def test_the_zip_holds_what_git_tracks_of_the_packages_and_is_always_the_same(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        package(tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    names = set(zipfile.ZipFile(tmp_path / "one.zip").namelist())
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".csv", ".html", ".css", ".js")
    }
    assert wanted <= names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize("name", ["mglm.tar", "mglm", "missing/mglm.zip"])
def test_a_name_that_spark_would_not_take_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match=r"\.zip|no directory"):
        package(tmp_path / name)
