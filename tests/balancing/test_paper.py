"""The paper's figures are computed, and what cannot be computed is said."""

import re
from pathlib import Path

import pytest

from balancing.paper import report
from core.errors import MGLMError

TABLES = Path(__file__).parents[2].parent / "shared" / "data" / "language_tables"

MC4 = """rank,code,language,tokens_B,pages_M,mt5_sampling_pct,kind
1,en,English,2700,3000,60,language
2,ru,Russian,700,750,20,language
3,es,Spanish,400,410,10,language
4,de,German,340,400,1,language
5,fr,French,310,330,1,language
6,it,Italian,160,180,1,language
7,ta,Tamil,3.4,3.5,6,language
8,ru-Latn,Russian,0.9,0.7,1,latin_variant
"""


def row(text: str, name: str) -> list[str]:
    """The cells of the one row that begins with `name`."""
    (found,) = re.findall(rf"^\| {re.escape(name)}[^|]*\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


def test_the_figures_of_mc4() -> None:
    if not (TABLES / "mc4.csv").is_file():
        pytest.skip("no language_tables beside the project")
    text = report(TABLES)
    assert row(text, "mT5's own column")[:2] == ["4.65", "5.67"]
    assert row(text, "stage 2 alone")[:2] == ["4.68", "5.58"]
    assert row(text, "both stages")[:2] == ["5.47", "2.47"]
    assert row(text, "the paper: mGLM, after")[0] == "6.12"
    assert row(text, "curve: line over ln(rank)") == ["4.68", "3.95", "10.41", "-1.52"]
    assert row(text, "rows: the 101 languages")[0] == "4.80"
    assert "above the line, in ln(pages) | en +2.87, ru +1.54, de +1.05" in text
    assert "4 of the paper's 5 are among the 5 furthest above the line; Italian is number" in text
    assert row(text, "mBERT, α 0.7, bytes of 102")[:2] == ["24.35", "12.54"]
    assert "English to Icelandic is 406 : 1 as counted and 67 : 1" in text


def test_without_the_other_tables_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "mc4.csv").write_text(MC4, encoding="utf-8")
    text = report(tmp_path)
    assert row(text, "mT5's own column")[:2] == ["6.00", "60.00"]
    assert "XLM-R: not computed, there is no" in text
    assert "mBERT: not computed, there is no" in text
    assert "rows: the 7 languages without the -Latn variants" in text


def test_small_tables_by_hand(tmp_path: Path) -> None:
    (tmp_path / "mc4.csv").write_text(MC4, encoding="utf-8")
    (tmp_path / "cc100.csv").write_text(
        'ISO code,Language,Tokens (M),Size (GiB)\nen,English,"1,000",81\nzh,Chinese,10,16\nzh,Chinese (T),10,1\n'
        "ta,Tamil,1,1\n-,Hindi Romanized,1,1\n"
    )
    (tmp_path / "wikipedia_mbert.csv").write_text(
        'Language,Wiki,Wiki Size (bytes),In mBERT?\nEnglish,en,"1,024",y\nIcelandic,is,1,y\nKlingon,tlh,7,n\n'
    )
    text = report(tmp_path)
    assert row(text, "XLM-R, α 0.3, Size (GiB)")[0] == "81.00"
    assert "English to Icelandic is 1024 : 1 as counted and 128 : 1" in text
    assert row(text, "mBERT, α 0.7, bytes of 2")[:2] == ["99.90", "99.22"]


def test_no_table_and_tables_without_their_columns_are_told(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="mc4.csv; found nothing there"):
        report(tmp_path)
    (tmp_path / "mc4.csv").write_text("code,pages_M\nen,1\n")
    with pytest.raises(MGLMError, match="expected a column tokens_B"):
        report(tmp_path)
    (tmp_path / "mc4.csv").write_text(MC4)
    (tmp_path / "cc100.csv").write_text("code,size\nen,1\n")
    with pytest.raises(MGLMError, match=r"cc100.csv; found columns code, size; expected a column ISO code, Language"):
        report(tmp_path)
