"""Data sets in their published forms become prompted examples; what is wrong in a file is named with its line."""

import gzip
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from core.examples import Example, read_examples
from core.manifest import read_manifest
from eval.config import EvalConfig
from eval.prepare import prepare

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "eval"


def made(task: str, folder: Path, output: Path, **fields: Any) -> dict[str, list[Example]]:
    manifest = prepare(task, [folder], output, EvalConfig(**fields), overwrite=True)
    splits = {name: list(read_examples(path)) for name in ("train", "dev", "heldout")
              if (path := output / f"{name}.jsonl").exists()}  # fmt: skip
    assert sum(map(len, splits.values())) == sum(sum(counts.values()) for counts in manifest.counts.values())
    return splits


def said(example: Example) -> str:
    return "".join(segment.value for segment in example.source)


def write(path: Path, *lines: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, "utf-8")


def squad(path: Path, *questions: tuple[str, str, list[str]], context: str = "The context.") -> None:
    qas = [
        {"id": key, "question": q, "answers": [{"text": t, "answer_start": 0} for t in a]} for key, q, a in questions
    ]
    write(path, {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]})


def test_xquad_trains_on_squad_and_is_asked_in_english_words(tmp_path: Path) -> None:
    squad(tmp_path / "in" / "squad" / "train-v1.1.json", ("1", "Who?", ["A", "the A"]))
    squad(tmp_path / "in" / "xquad" / "xquad.hi.json", ("7", "कौन?", ["क"]), context="संदर्भ।")
    got = made("xquad", tmp_path / "in", tmp_path / "out")
    (train,), (hindi,) = got["train"], got["heldout"]
    assert said(train) == "The context. Question: Who? Answer: [sMASK]"
    assert (train.lang, train.target, train.references) == ("en", "A", ["A", "the A"])
    assert said(hindi) == "संदर्भ। Question: कौन? Answer: [sMASK]"
    assert (hindi.id, hindi.lang, hindi.references, got["dev"]) == ("hi-hi:7", "hi", [], [])
    task = read_manifest(tmp_path / "out", "examples/1").facts["task"]
    assert task["decoding"]["window_stride"] == 256
    assert "sources" not in task


def test_mlqa_has_a_pair_for_each_two_languages(tmp_path: Path) -> None:
    for context in ("en", "de", "zh"):
        for question in ("en", "de", "zh"):
            squad(tmp_path / f"test-context-{context}-question-{question}.json", ("same", "?", ["x"]))
    got = made("mlqa", tmp_path, tmp_path / "out")["heldout"]
    assert Counter((example.lang, example.target_lang) for example in got).total() == 9
    assert {example.id for example in got} >= {"en-de:same", "de-en:same"}


def test_tydiqa_trains_on_english_alone_in_either_form(tmp_path: Path) -> None:
    questions = [(f"{name}-1", "?", ["x"]) for name in ("english", "korean", "swahili")]
    squad(tmp_path / "a" / "tydiqa-goldp-v1.1-train.json", *questions)
    squad(tmp_path / "a" / "tydiqa-goldp-v1.1-dev.json", *questions)
    got = made("tydiqa", tmp_path / "a", tmp_path / "out")
    assert [example.lang for example in got["train"]] == ["en"]
    assert [example.lang for example in got["heldout"]] == ["en", "ko", "sw"]
    for lang in ("en", "ko"):
        squad(tmp_path / "b" / f"tydiqa.goldp.{lang}.train.json", ("1", "?", ["x"]))
    squad(tmp_path / "b" / "tydiqa-goldp-dev-telugu.json", ("1", "?", ["x"]))
    got = made("tydiqa", tmp_path / "b", tmp_path / "out2")
    assert [example.lang for example in got["train"] + got["heldout"]] == ["en", "te"]


def test_ncls_alternates_articles_and_summaries(tmp_path: Path) -> None:
    write(tmp_path / "EN2ZHSUM" / "data" / "train.txt", "An article.", "一个摘要", "Another.", " ")
    write(tmp_path / "EN2ZHSUM" / "data" / "test.txt", "Third.", "三")
    got = made("ncls_en2zh", tmp_path, tmp_path / "out")
    assert [said(example) for example in got["train"]] == ["An article.. 中文摘要: [sMASK]"]
    assert got["heldout"][0].target == "三"
    rejected = json.loads((tmp_path / "out" / "rejected.jsonl").read_text("utf-8"))
    assert (rejected["line"], rejected["reason"]) == (3, "no_target")
    write(tmp_path / "EN2ZHSUM" / "data" / "train.txt", "An article.", "一个摘要", "Another.")
    with pytest.raises(MGLMError, match=r"train\.txt, line 3; found 3 lines, an odd number"):
        prepare("ncls_en2zh", [tmp_path], tmp_path / "odd", EvalConfig())
    assert not (tmp_path / "odd").exists()


def tagged(number: int, article: str, *texts: tuple[str, str]) -> list[str]:
    parts = [f"<{name}>\n{text}\n</{name}>" for name, text in (("Article", article), *texts)]
    return [f"<doc id={number}>", *parts, "</doc>"]


def test_ncls_is_read_as_published_too(tmp_path: Path) -> None:
    train = tagged(0, "An article.", ("EN-REF1", "One."), ("ZH-REF1", "一。"), ("EN-REF2", "Two."), ("ZH-REF2", "二。"))
    corrected = [("EN-REF1", "One."), ("ZH-REF1", "一。"), ("ZH-REF1-human-corrected", "壹。"), ("ZH-REF2", "二。")]
    write(tmp_path / "EN2ZHSUM" / "EN2ZHSUM_train.txt", *train, *tagged(7, "", ("ZH-REF1", "无文")))
    write(tmp_path / "EN2ZHSUM" / "EN2ZHSUM_test.txt", *tagged(3, "Third.", *corrected))
    got = made("ncls_en2zh", tmp_path, tmp_path / "out")
    assert [(example.id, said(example), example.target) for example in got["train"] + got["heldout"]] == [
        ("en-zh:0", "An article.. 中文摘要: [sMASK]", "一。 二。"),
        ("en-zh:3", "Third.. 中文摘要: [sMASK]", "壹。 二。"),
    ]
    rejected = json.loads((tmp_path / "out" / "rejected.jsonl").read_text("utf-8"))
    assert rejected["reason"] == "no_text"  # as all of ZH2ENSUM, whose articles are LCSTS's
    write(tmp_path / "EN2ZHSUM" / "EN2ZHSUM_train.txt", *train, *train[:-1], *train)
    with pytest.raises(MGLMError, match=r"train\.txt, line 18; found no </doc>"):
        prepare("ncls_en2zh", [tmp_path], tmp_path / "open", EvalConfig())
    write(tmp_path / "EN2ZHSUM" / "EN2ZHSUM_train.txt", *train, "An article without a tag.")
    with pytest.raises(MGLMError, match=r"train\.txt, line 18; found An article without a tag\.; expected a line <doc"):
        prepare("ncls_en2zh", [tmp_path], tmp_path / "bare", EvalConfig())


def test_mtg_is_trained_on_one_source_and_evaluated_on_five(tmp_path: Path) -> None:
    for lang in ("en", "fr", "es", "de", "zh"):
        write(tmp_path / f"train.doc.{lang}", f"Text -LRB- {lang} -RRB- .")
        write(tmp_path / f"test.annotation.doc.{lang}", f"Text {lang} .", "Two .")
    write(tmp_path / "train.sum.zh", "题 <S_SEP> 目")
    write(tmp_path / "test.annotation.sum.zh", "一", "二")
    got = made("mtg_fr_zh", tmp_path, tmp_path / "out")
    assert [said(example) for example in got["train"]] == ["中文标题: [MASK] 原文: Text ( fr ) ."]
    assert got["train"][0].target == "题 目"
    assert sorted(Counter(example.lang for example in got["heldout"])) == ["de", "en", "es", "fr", "zh"]
    write(tmp_path / "test.annotation.sum.zh", "一")
    with pytest.raises(MGLMError, match=r"test\.annotation\.sum\.zh; found 1 lines; expected as many as .*doc\.de"):
        prepare("mtg_fr_zh", [tmp_path], tmp_path / "short", EvalConfig())
    (tmp_path / "test.annotation.sum.zh").unlink()
    with pytest.raises(MGLMError, match=r"found no test\.annotation\.sum\.zh beside it"):
        prepare("mtg_fr_zh", [tmp_path], tmp_path / "short", EvalConfig())


def test_xwikis_and_crosssum_name_both_languages(tmp_path: Path) -> None:
    write(tmp_path / "cs-en" / "train.cs_en_src_documents.txt", "Dokument")
    write(tmp_path / "cs-en" / "train.cs_en_tgt_summaries_prep.txt", "Summary")
    (example,) = made("xwikis", tmp_path, tmp_path / "out")["train"]
    assert (example.lang, example.target_lang, said(example)) == ("cs", "en", "Dokument. English Summary: [sMASK]")
    write(tmp_path / "x" / "hindi-scottish_gaelic_test.jsonl", {"text": "पाठ", "summary": "Geàrr", "source_url": "u"})
    (example,) = made("crosssum", tmp_path / "x", tmp_path / "out2")["heldout"]
    assert (example.lang, example.target_lang) == ("hi", "gd")
    assert said(example) == "पाठ. Scottish Gaelic Summary: [sMASK]"


def test_xlsum_joins_title_and_text_and_isummcorp_takes_csv(tmp_path: Path) -> None:
    row = {"id": "a", "url": "u", "title": "Title", "text": "Text", "summary": "S"}
    for name in ("chinese_simplified", "chinese_traditional", "pidgin"):
        write(tmp_path / f"{name}_test.jsonl", row)
    got = made("xlsum", tmp_path, tmp_path / "out")["heldout"]
    assert [said(example) for example in got] == ["Title Text TL;DR: [sMASK]"] * 3
    assert {example.lang for example in got} == {"zh", "pcm"}
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "tamil_test.csv").write_text('id,text,summary\n1,"ஒரு ""பாடம்"",\nஇரண்டு",சுருக்கம்\n', "utf-8")
    (tmp_path / "i" / "hindi_test.csv").write_text("text,summary\nx,y\n", "utf-8")
    (example,) = made("isummcorp", tmp_path / "i", tmp_path / "out2")["heldout"]
    assert (example.lang, said(example)) == ("ta", 'ஒரு "பாடம்",\nஇரண்டு. தமிழ்ச் சுருக்கம்: [sMASK]')
    (tmp_path / "i" / "tamil_test.csv").write_text("text,summary\nx\n", "utf-8")
    with pytest.raises(MGLMError, match=r"tamil_test\.csv, line 2; found another number of columns"):
        prepare("isummcorp", [tmp_path / "i"], tmp_path / "o", EvalConfig())


def test_scisummnet_joins_summaries_with_papers(tmp_path: Path) -> None:
    write(tmp_path / "scisummnet-zh.txt", {"pid": "P1", "zh_sum": "摘要"}, {"pid": "P2", "zh_sum": "缺"})
    with pytest.raises(MGLMError, match=r"no <pid>\.xml in any --input"):
        prepare("scisummnet_zh", [tmp_path], tmp_path / "out", EvalConfig())
    paper = "<PAPER><S>A title</S><ABSTRACT><S>An abstract.</S></ABSTRACT><SECTION><S>A <b>first</b></S>"
    paper += "<SECTION><S>and  last.</S></SECTION></SECTION></PAPER>"
    write(tmp_path / "top1000_complete" / "P1" / "Documents_xml" / "P1.xml", paper)
    (example,) = made("scisummnet_zh", tmp_path, tmp_path / "out")["heldout"]
    assert (said(example), example.id) == ("A first and last.. 中文摘要: [sMASK]", "en-zh:P1")
    assert json.loads((tmp_path / "out" / "rejected.jsonl").read_text("utf-8"))["reason"] == "no_paper"


def test_wikilingua_keeps_translations_together_and_runs_nothing(tmp_path: Path) -> None:
    english = {f"u{n}": {"s": {"document": f"Doc {n}", "summary": f"Sum {n}"}} for n in range(60)}
    german = {
        f"d{n}": {"teil": {"document": f"Dok {n}", "summary": "Z", "english_url": f"u{n}", "english_section_name": "s"}}
        for n in range(60)
    }
    for name, content in (("english", english), ("german", german)):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(content))
    got = made("wikilingua", tmp_path, tmp_path / "out")
    where = {example.id: split for split, examples in got.items() for example in examples}
    for number in range(60):
        assert where[f"en-en:u{number}#s#s"] == where[f"de-en:u{number}#s#teil"]
    assert {split: bool(examples) for split, examples in got.items()} == {"train": True, "dev": True, "heldout": True}
    assert next(e for e in got["train"] if e.lang == "de").target.startswith("Sum ")
    (tmp_path / "german.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(MGLMError, match=r"german\.pkl; found it asks for builtins\.print"):
        prepare("wikilingua", [tmp_path], tmp_path / "evil", EvalConfig())


def test_xnli_and_pawsx_are_choices_as_the_authors_had_them(tmp_path: Path) -> None:
    write(tmp_path / "x" / "test-de.tsv", "Es regnet.\tEs ist nass.\tentailment", "A.\tB!\tcontradictory", "A\tB\thm")
    got = made("xnli", tmp_path / "x", tmp_path / "out")["heldout"]
    assert [example.target for example in got] == ["entailment", "contradiction"]
    assert got[0].choices["entailment"] == [" True"]
    assert said(got[0]) == (
        'Based on the fact written in foreign language: "Es regnet.". Is the followling statement reasonably True or '
        'definitely False: "Es ist nass"? Answer:[MASK]'
    )
    write(tmp_path / "p" / "ko" / "test_2k.tsv", "id\tsentence1\tsentence2\tlabel", "3\tone.\ttwo.\t1")
    (example,) = made("pawsx", tmp_path / "p", tmp_path / "out2")["heldout"]
    assert (example.lang, example.id, example.target) == ("ko", "ko-ko:3", "1")
    assert said(example) == '"two" ?[MASK], "one."'
    write(tmp_path / "p" / "ko" / "test_2k.tsv", "id\tsentence1")
    with pytest.raises(MGLMError, match=r"test_2k\.tsv, line 1; found 2 cells"):
        prepare("pawsx", [tmp_path / "p"], tmp_path / "o", EvalConfig())


def test_a_users_jsonl_by_a_few_lines_of_toml(tmp_path: Path) -> None:
    rows = [{"ruling": ["Satz.", "Zwei."], "headnote": ["L", "M"], "nr": n} for n in range(40)]
    write(tmp_path / "in" / "court.jsonl", *rows)
    task = tmp_path / "court.toml"
    task.write_text(
        '[court]\ntemplate = "{text} Leitsatz: {mask}"\n'
        'sources = [{ split = "by_hash", files = ["court.jsonl"], lang = "de", heldout_share = 0.2, '
        'fields = { text = "ruling", target = "headnote", id = "nr" } }]\n',
        "utf-8",
    )
    (got,) = filter(None, made(str(task), tmp_path / "in", tmp_path / "out").values())  # one text, one split
    assert [example.id for example in got] == [f"de-de:{n}" for n in range(40)]
    assert (said(got[0]), got[0].references) == ("Satz. Zwei. Leitsatz: [sMASK]", ["L", "M"])
    write(tmp_path / "in" / "court.jsonl", rows[0], {"ruling": "x"})
    with pytest.raises(MGLMError, match=r"court\.jsonl, line 2; found fields ruling; expected headnote"):
        prepare(str(task), [tmp_path / "in"], tmp_path / "o", EvalConfig())
    write(tmp_path / "in" / "court.jsonl", rows[0], "{nothing")
    with pytest.raises(MGLMError, match=r"court\.jsonl, line 2; found \{nothing; expected a JSON object"):
        prepare(str(task), [tmp_path / "in"], tmp_path / "o", EvalConfig())


def test_what_shares_a_paragraph_or_a_sentence_shares_a_split(tmp_path: Path) -> None:
    paragraphs = [
        {
            "context": f"Absatz {n}.",
            "qas": [{"id": f"{n}-{q}", "question": f"{q}?", "answers": [{"text": "x"}]} for q in range(4)],
        }
        for n in range(30)
    ]
    write(tmp_path / "qa.json", {"data": [{"paragraphs": paragraphs}]})
    write(tmp_path / "nli.tsv", *[f"Satz {n}.\tFolge {h}.\tja" for n in range(30) for h in range(4)])
    task = tmp_path / "own.toml"
    task.write_text(
        '[qa]\nkind = "question"\nprompt = "question"\nscorer = "squad"\n'
        'sources = [{ split = "by_hash", reader = "squad", files = ["qa.json"], lang = "de", heldout_share = 0.3 }]\n'
        '[nli]\nkind = "choice"\nprompt = "paraphrase"\nscorer = "accuracy"\nchoices = { ja = ["Ja"] }\n'
        'sources = [{ split = "by_hash", reader = "pairs", files = ["nli.tsv"], lang = "de", heldout_share = 0.3 }]\n',
        "utf-8",
    )
    for name, shared in (("qa", "Absatz"), ("nli", "Satz")):
        got = made(f"{task}:{name}", tmp_path, tmp_path / name)
        found = [
            {part.value for example in examples for part in example.source if part.value.startswith(shared)}
            for examples in got.values()
        ]
        assert sum(map(len, found)) == len(set().union(*found)) == 30
        assert all(found)


def test_the_summariser_mixes_its_parts_by_weight_and_translates_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    write(folder / "EN2ZHSUM" / "train.txt", *[text for n in range(40) for text in (f"Article {n}", f"摘要{n}")])
    write(folder / "ZH2ENSUM" / "train.txt", *[text for n in range(10) for text in (f"文章{n}", f"Summary {n}")])
    write(folder / "scitldr_zh.jsonl", {"text": "A paper", "target": "论文"})
    write(folder / "SciTLDR-A" / "train.jsonl", {"source": ["A paper.", "B."], "target": ["T", "U"], "paper_id": "p"})
    got = made("summarizer", folder, tmp_path / "out", weights={"ncls_en2zh": 0.5, "ncls_zh2en": 2.0})["train"]
    parts = Counter(example.id.split(":")[0] for example in got)
    assert 10 < parts.pop("ncls_en2zh") < 30
    assert parts == {"ncls_zh2en": 20, "scitldr_zh": 1}
    assert len({example.id for example in got}) == len(got)
    (tmp_path / "my_translator.py").write_text(
        "def translate(texts, source, target):\n    return [f'{source}>{target} {text}' for text in texts]\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    got = made("summarizer", folder, tmp_path / "out2", translator="my_translator:translate")["train"]
    by_part = {example.id.split(":")[0]: example for example in got}
    assert by_part["scitldr_zh_translated"].target == "en>zh T"
    assert said(by_part["scitldr_en_translated"]) == "en>zh A paper. B.. English Summary: [sMASK]"
    with pytest.raises(MGLMError, match=r"eval\.weights\.ncls; found a weight for no part"):
        made("summarizer", folder, tmp_path / "o", weights={"ncls": 1.0})
    with pytest.raises(MGLMError, match=r"eval\.translator 'absent:f'"):
        made("summarizer", folder, tmp_path / "o", translator="absent:f")


def test_files_may_be_compressed_and_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(MGLMError, match=r"found no file of the task scitldr; expected train\.jsonl"):
        prepare("scitldr", [tmp_path / "in"], tmp_path / "out", EvalConfig())
    with pytest.raises(MGLMError, match="absent; found no such file"):
        prepare("scitldr", [tmp_path / "absent"], tmp_path / "out", EvalConfig())
    row = json.dumps({"source": ["A.", "B."], "target": ["T", "U"], "paper_id": "p"})
    (tmp_path / "in" / "test.jsonl.gz").write_bytes(gzip.compress(f"{row}\n{row}\n".encode()))
    (example,) = made("scitldr", tmp_path / "in", tmp_path / "out")["heldout"]
    assert (said(example), example.references) == ("A. B. TL;DR: [sMASK]", ["T", "U"])
    assert json.loads((tmp_path / "out" / "rejected.jsonl").read_text("utf-8"))["reason"] == "doubled_id"
    squad(tmp_path / "in" / "xquad.de.json")
    (tmp_path / "in" / "xquad.de.json").write_text('{"data": [{"paragraphs": [{"context": "c", "qas": [{}]}]}]}')
    with pytest.raises(MGLMError, match=r"xquad\.de\.json, data\[0\]\.paragraphs\[0\]\.qas\[0\]; found no 'id'"):
        prepare("xquad", [tmp_path / "in"], tmp_path / "o", EvalConfig())
    (tmp_path / "in" / "xquad.de.json").write_bytes(b"\xff\xfe")
    with pytest.raises(MGLMError, match=r"xquad\.de\.json, line 1.*expected UTF-8"):
        prepare("xquad", [tmp_path / "in"], tmp_path / "o", EvalConfig())


@pytest.mark.skipif(not SHARED.exists(), reason="XQuAD and SciTLDR are not beside the project")
def test_the_real_files_are_read_whole(tmp_path: Path) -> None:
    got = made("xquad", SHARED / "xquad" / "xquad.zh.json.gz", tmp_path / "xquad")["heldout"]
    assert Counter(example.lang for example in got) == {"zh": 1190}
    got = made("scitldr", SHARED / "scitldr", tmp_path / "scitldr")
    assert {name: len(examples) for name, examples in got.items()} == {"train": 1992, "dev": 619, "heldout": 618}
