from pathlib import Path

import pytest

from core.errors import MGLMError
from core.examples import Example, Segment, read_examples, write_examples


def test_examples_survive_their_file_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    source = [Segment(kind="text", value="line\nbreak [sMASK]"), Segment(kind="mask", value="[sMASK]")]
    example = Example(id="1", task="t", lang="en", target_lang="zh", split="train", source=source, target="概要")
    assert write_examples(path, [example, example]) == 2
    assert list(read_examples(path)) == [example, example]
    path.write_text(path.read_text("utf-8") + "{}\n", "utf-8")
    with pytest.raises(MGLMError, match="line 3"):
        list(read_examples(path))
