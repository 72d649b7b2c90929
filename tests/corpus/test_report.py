"""The report: its accounts add up, its table has every language, and hostile text does nothing on its page."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.manifest import read_manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, REJECTED_TABLE
from core.stage import open_stage
from corpus.report import accounts, read_examples, report

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    directory = tmp_path / "documents"
    stage = open_stage(directory, schema=DOCUMENTS, config={"lid_threshold": 0.5}, inputs={})
    counts = {}
    for lang, number in (("en", 5), ("zh", 3), ("und", 2)):
        rows = [
            {
                "doc_id": document_id(f"{lang}{place}"), "text": f"{lang}{place}", "url": None, "script": "Latn",
                "lid_label": lang, "lid_score": 0.9, "n_chars": 10 ** (place + 1), "n_bytes": 10 ** (place + 1),
                "source": "crawl", "offset": place, "split": "train", "quality": 0.7 if lang == "en" else None,
            }
            for place in range(number)
        ]  # fmt: skip
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), folder / "part-00000.parquet")
        size = sum(10 ** (place + 1) for place in range(number))
        counts[lang] = {"documents": number, "heldout_documents": 0, "characters": size, "bytes": size}
    (directory / "rejected").mkdir()
    refused = [
        {"source": HOSTILE, "offset": place, "reason": "not_json", "detail": HOSTILE, "raw": HOSTILE}
        for place in range(9)
    ]
    pq.write_table(pa.Table.from_pylist(refused, REJECTED_TABLE), directory / "rejected" / "part-00000.parquet")
    facts = {
        "records_in": 24, "documents": 10, "duplicates": 4, "near_duplicates": 1, "rejected": {"not_json": 9},
        "changes": {"email": 2}, "detector": {"file": "lid.ftz", "cannot_emit": ["zu"]},
    }  # fmt: skip
    stage.finish(counts=counts, facts=facts)
    return directory


def test_accounts_add_up(documents: Path) -> None:
    facts = read_manifest(documents, DOCUMENTS).facts
    assert sum(number for _, number in accounts(facts)) == facts["records_in"]


def test_the_table_has_every_language_and_every_account(documents: Path) -> None:
    lines = report(documents, None).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["en", "zh", "und"]
    for end in ("documents", "exact duplicates", "near-duplicates", "rejected: not_json", "email"):
        assert any(line.endswith(end) for line in lines)


def test_the_page_is_whole_and_text_from_outside_is_text(documents: Path, tmp_path: Path) -> None:
    report(documents, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png") == 4
    assert "&lt;script&gt;" in page
    for anchor in ("accounts", "languages", "scripts", "scores", "lengths", "rules", "rejected"):
        assert f'<section id="{anchor}">' in page
    before = (tmp_path / "report" / "index.html").stat().st_mtime_ns
    report(documents, tmp_path / "report")
    assert (tmp_path / "report" / "index.html").stat().st_mtime_ns == before


def test_of_each_reason_the_first_records_are_examples_and_no_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = ["not_json"] * 50 + ["rare"] + ["not_json"] * 30 + ["empty_text"] * 9 + ["rare"] + ["empty_text"] * 9
    rows = [
        {"source": "crawl", "offset": place, "reason": reason, "detail": "", "raw": ""}
        for place, reason in enumerate(reasons)
    ]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for number, path in enumerate(paths):
        half = pa.Table.from_pylist(rows[50 * number :][:50], REJECTED_TABLE)
        pq.write_table(half, path, row_group_size=10)
    whole: list[int] = []

    class Spied(pq.ParquetFile):  # type: ignore[misc]
        def read_row_group(self, number: int, columns: list[str]) -> pa.Table:
            whole.extend([number] * (len(columns) > 1))
            return super().read_row_group(number, columns=columns)

    monkeypatch.setattr(pq, "ParquetFile", Spied)
    examples = read_examples(paths, Counter(reasons))
    assert examples == {
        reason: [row for row in rows if row["reason"] == reason][:3] for reason in dict.fromkeys(reasons)
    }
    assert whole == [0, 0, 3, 4]  # of ten


def test_what_is_no_corpus_is_told(tmp_path: Path, documents: Path) -> None:
    with pytest.raises(MGLMError, match="run mglm corpus build|Run mglm corpus build"):
        report(tmp_path / "none", None)
    (documents / "documents" / "lang=zh" / "part-00000.parquet").write_bytes(b"broken")
    with pytest.raises(MGLMError, match="a whole Parquet file"):
        report(documents, None)
