import tracemalloc
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.examples import Example, ExampleFile, Segment, read_examples, write_examples


def test_examples_survive_their_file_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    source = [Segment(kind="text", value="line\nbreak [sMASK]"), Segment(kind="mask", value="[sMASK]")]
    example = Example(id="1", task="t", lang="en", target_lang="zh", split="train", source=source, target="概要")
    assert write_examples(path, [example, example]) == 2
    assert list(read_examples(path)) == [example, example]
    path.write_text(path.read_text("utf-8") + "{}\n", "utf-8")
    with pytest.raises(MGLMError, match="line 3"):
        list(read_examples(path))


def some(count: int, text: str = "word ") -> list[Example]:
    source = [Segment(kind="text", value=f"{text}\u2028{text}"), Segment(kind="mask", value="[sMASK]")]
    fields = {"target_lang": "zh", "split": "train", "source": source, "target": "概要"}
    return [
        Example.model_validate({"id": str(n), "task": "ab"[n % 2], "lang": ("en", "th", "hi")[n % 3], **fields})
        for n in range(count)
    ]


def test_a_file_of_examples_is_the_list_of_them(tmp_path: Path) -> None:
    path, examples = tmp_path / "train.jsonl", some(9)
    write_examples(path, examples)
    file = ExampleFile(path)
    assert list(file) == examples
    assert (file[-1], file[1:7:2], len(file)) == (examples[-1], examples[1:7:2], 9)
    assert (file.tasks, file.languages) == (["a", "b"], ["en", "hi", "th"])
    of_task = ExampleFile(path, "b")
    assert list(of_task) == examples[1::2]
    assert ExampleFile(path, "c").tasks == ["a", "b"]
    path.write_text("{}\n", "utf-8")
    with pytest.raises(MGLMError, match=r"train.jsonl, byte \d+"):
        of_task[3]
    with pytest.raises(MGLMError, match="line 1"):
        ExampleFile(path)


def test_a_file_of_examples_does_not_hold_them(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_examples(path, some(300, "a long text " * 200))
    tracemalloc.start()
    file = ExampleFile(path)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(file) == 300
    assert held < path.stat().st_size / 20
