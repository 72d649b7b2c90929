"""Records become examples of one split each; what is broken is kept aside, and nothing vanishes."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from core.documents import document_id, split_of
from core.errors import MGLMError
from core.examples import Example, read_examples
from core.manifest import Manifest, read_manifest
from core.text import normalise
from eval.config import EvalConfig
from eval.prepare import prepare
from tokenizer.prompts import summary_source

CONFIG = EvalConfig(heldout_share=0.3)


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"r{number}", "lang": "sw", "text": f"Makala ya {number}.", "summary_en": f"No. {number}", **fields}


def write(path: Path, rows: list[Any]) -> Path:
    texts = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    return path


def made(tmp_path: Path, rows: list[Any], config: EvalConfig = CONFIG) -> tuple[Manifest, list[Example], list[Any]]:
    manifest = prepare("summaries", [write(tmp_path / "in.jsonl", rows)], tmp_path / "out", config)
    examples = [e for name in ("train", "heldout") for e in read_examples(tmp_path / "out" / f"{name}.jsonl")]
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text("utf-8").splitlines()]
    return manifest, examples, rejected


def test_each_summary_is_an_example_with_its_prompt(tmp_path: Path) -> None:
    rows = [
        record(1, text="Cafe\u0301 \r\nhabari [MASK] {text}", summary_zh=" 摘要 "),
        record(2, summary_en=None, summary_zh="二"),
    ]
    manifest, examples, _ = made(tmp_path, rows)
    by_id = {example.id: example for example in examples}
    assert set(by_id) == {"r1:en", "r1:zh", "r2:zh"}
    chinese = by_id["r1:zh"]
    assert (chinese.task, chinese.lang, chinese.target_lang, chinese.target) == ("summaries", "sw", "zh", "摘要")
    assert chinese.source == summary_source("Café\nhabari [MASK] {text}", "zh")
    assert sum(manifest.counts["sw"].values()) == 3
    assert manifest.schema_name == "examples/1"


def test_all_examples_of_a_text_share_the_split_it_has_as_a_document(tmp_path: Path) -> None:
    _, examples, _ = made(tmp_path, [record(n, summary_zh="要") for n in range(200)])
    texts = {example.id: next(s.value for s in example.source if s.kind == "text") for example in examples}
    for example in examples:
        assert example.split == split_of(document_id(normalise(texts[example.id])), CONFIG.heldout_share)
    heldout = sum(example.split == "heldout" for example in examples)
    assert 0.2 * len(examples) < heldout < 0.4 * len(examples)


def test_broken_records_are_kept_with_their_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        record(1),
        b"{not json",
        b"[1]",
        b"",
        b'{"id": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        record(2, text=" \n"),
        record(3, text=7),
        record(4, id=None),
        record(5, id=True),
        record(6, summary_zh=["x"]),
        record(1, text="another text"),
        record(7, summary_en="  "),
        record(8, id=8),
    ]
    manifest, examples, rejected = made(tmp_path, rows)
    assert [example.id for example in sorted(examples, key=lambda e: e.id)] == ["8:en", "r1:en"]
    assert [(row["line"], row["reason"]) for row in rejected] == [
        (2, "not_json"), (3, "not_an_object"), (5, "not_json"), (6, "not_json"), (7, "no_text"), (8, "no_text"),
        (9, "no_id"), (10, "no_id"), (11, "summary_not_a_string"), (12, "doubled_id"),
    ]  # fmt: skip
    assert all(len(row["raw"]) <= 500 for row in rejected)
    facts = manifest.facts
    assert (facts["records_in"], facts["records_with_examples"], facts["records_without_summary"]) == (13, 2, 1)
    assert sum(facts["rejected"].values()) == len(rejected)


def test_bytes_that_are_no_utf8_become_replacement_characters_as_in_the_corpus(tmp_path: Path) -> None:
    _, examples, rejected = made(tmp_path, [b'\xef\xbb\xbf{"id": "x", "text": "ab\xffc", "summary_en": "s"}'])
    assert not rejected
    assert examples[0].source[0].value == "ab\ufffdc"


def test_the_language_is_what_the_record_says_else_what_the_detector_says(tmp_path: Path) -> None:
    english = "The ferry left the harbour late because of the fog, and nobody on the quay was surprised."
    rows = [record(1, lang="HE"), record(2, lang="klingon", text=english), record(3, lang=None, text=english + " Yes.")]
    _, examples, _ = made(tmp_path, rows)
    assert {example.id: example.lang for example in examples} == {"r1:en": "iw", "r2:en": "en", "r3:en": "en"}


def test_compressed_input_and_finished_work(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(record(1)).encode()))
    first = prepare("summaries", [path], tmp_path / "out", CONFIG)
    assert prepare("summaries", [path], tmp_path / "out", CONFIG) == first
    assert read_manifest(tmp_path / "out", "examples/1") == first
    with pytest.raises(MGLMError, match="another configuration"):
        prepare("summaries", [path], tmp_path / "out", EvalConfig(heldout_share=0.5))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(MGLMError, match=r"in\.jsonl\.gz"):
        prepare("summaries", [path], tmp_path / "other", CONFIG)


def test_inputs_that_hold_nothing_usable_leave_nothing_behind(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl", [])
    useless = write(tmp_path / "useless.jsonl", [b"nonsense", record(1, summary_en="")])
    for path, message in [
        (tmp_path / "absent.jsonl", "no such file"),
        (tmp_path, "a directory"),
        (empty, "an empty file"),
        (useless, "no usable record among 2, 1 times not_json"),
    ]:
        with pytest.raises(MGLMError, match=message):
            prepare("summaries", [path], tmp_path / "out", CONFIG)
        assert not (tmp_path / "out").exists()
    with pytest.raises(MGLMError, match="expected one of summaries"):
        prepare("titles", [useless], tmp_path / "out", CONFIG)
