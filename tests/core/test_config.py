from pathlib import Path

import pytest

from core.config import RunConfig, Section
from core.errors import MGLMError


class Inner(Section):
    depth: int = 3


class Corpus(Section):
    threshold: float = 0.5
    name: str = "x"
    inner: Inner = Inner()


def test_a_missing_file_section_or_field_takes_the_default() -> None:
    assert RunConfig().section("corpus", Corpus) == Corpus()


def test_file_values_are_overridden_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[corpus]\nthreshold = 0.7\n[corpus.inner]\ndepth = 4\n", "utf-8")
    config = RunConfig(path, ["corpus.threshold=0.8", "corpus.name=bare words", "corpus.inner.depth=5"])
    assert config.section("corpus", Corpus) == Corpus(threshold=0.8, name="bare words", inner=Inner(depth=5))


def test_options_of_a_command_go_before_all_else_and_are_what_an_error_names(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[corpus]\nthreshold = 0.7\nname = 'from the file'\n", "utf-8")
    config = RunConfig(path, ["corpus.threshold=0.8"])
    config.take_options("corpus", threshold=0.9, name=None)
    assert config.section("corpus", Corpus) == Corpus(threshold=0.9, name="from the file")
    config.take_options("corpus", threshold="high")
    with pytest.raises(MGLMError, match=r"corpus\.threshold in the command's options; found 'high'"):
        config.section("corpus", Corpus)


def test_a_whole_number_is_taken_where_a_float_is_wanted() -> None:
    assert RunConfig(None, ["corpus.threshold=1"]).section("corpus", Corpus).threshold == 1.0


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("corpus.treshold=0.8", ["treshold", "threshold, name, inner", "did you mean threshold"]),
        ("corpus.inner.dept=1", ["corpus.inner.dept", "depth"]),
        ("corpus.threshold=high", ["corpus.threshold", "'high'"]),
        ("corpus.inner.depth=1.5", ["corpus.inner.depth", "1.5"]),
        ("corpse.threshold=1", ["corpse", "corpus"]),
        ("threshold=1", ["SECTION.FIELD=VALUE"]),
        ("corpus.threshold", ["SECTION.FIELD=VALUE"]),
        ("corpus.name.x=1", ["corpus.name"]),
    ],
)
def test_a_wrong_override_is_one_line_that_names_key_and_way_out(override: str, names: list[str]) -> None:
    with pytest.raises(MGLMError) as caught:
        RunConfig(None, [override]).section("corpus", Corpus)
    message = str(caught.value)
    assert "\n" not in message
    for name in names:
        assert name in message.replace("Did", "did")


def test_a_file_that_is_missing_broken_or_a_directory_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[corpus\n", "utf-8")
    for path, word in [(tmp_path / "none.toml", "no such file"), (broken, "line 1"), (tmp_path, "a directory")]:
        with pytest.raises(MGLMError, match=word) as caught:
            RunConfig(path)
        assert str(path) in str(caught.value)
