"""Readers of data sets in their published forms, by the name that a task declares.

Each takes a file (with what its name says of languages), the source's declaration and all the user's paths, and yields
records, or what it rejects. A file of another form is an error that names the line; a record without text or answer is
rejected and counted.
"""

import io
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from core.errors import MGLMError
from eval.data_files import read_columns, read_json, read_lines, read_objects, read_table
from eval.records import RAW_CHARACTERS, Record, Rejected
from eval.sources import FoundFile, language_of

if TYPE_CHECKING:
    from eval.tasks import Source

Reader = Callable[[FoundFile, "Source", Sequence[Path]], Iterator[Record | Rejected]]

# The bracket and quote tokens that parsed corpora have in place of the signs, and sentence marks; MTG and XWikis.
_PARSED = {
    "-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "''": '"', "``": '"',
    " <S_SEP> ": " ", "<S_SEP>": " ",
}  # fmt: skip
_LABELS = {"contradictory": "contradiction"}  # XNLI's training file spells one label in two ways
_TAG = re.compile(r"<(/?)(doc|Article|EN-REF|ZH-REF)([^<>]*)>")  # of NCLS
_PARSED_SIGN = re.compile("|".join(map(re.escape, _PARSED)))


def read_squad(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """SQuAD v1.1 and what follows its form: XQuAD, MLQA, TyDiQA-GoldP.

    The name's `lang` is the question's language and `target_lang` that of context and answer. In TyDiQA's files of all
    languages a question's id begins with its language's English name.
    """
    document = read_json(file.path)
    place = "data"
    try:
        for a, article in enumerate(document["data"]):
            for p, paragraph in enumerate(article["paragraphs"]):
                place = f"data[{a}].paragraphs[{p}]"
                for q, question in enumerate(paragraph["qas"]):
                    place = f"data[{a}].paragraphs[{p}].qas[{q}]"
                    key = str(question["id"])
                    target_lang, lang = _languages(file, source)
                    if source.fields.get("lang") == "id":
                        lang = target_lang = language_of(key.split("-", 1)[0])
                    answers = tuple(dict.fromkeys(str(answer["text"]) for answer in question["answers"]))
                    texts = {"context": str(paragraph["context"]), "question": str(question["question"])}
                    lang = lang or target_lang
                    yield _record(file.path, 0, key, lang, target_lang or lang, texts, answers, group=texts["context"])
    except (KeyError, TypeError, IndexError) as error:
        expected = "a SQuAD v1.1 file: data, paragraphs with context, qas with id, question, answers"
        raise MGLMError(f"{file.path}, {place}", found=f"no {error}", expected=expected) from None


def read_alternating(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """NCLS as the authors have it: a line with the article, a line with its summary, and so on. Or as it is published:
    documents between tags."""
    target_lang, lang = _languages(file, source)
    if next(read_lines(file.path), (0, ""))[1].startswith("<doc"):
        yield from _tagged(file.path, lang, target_lang)
        return
    article, number = "", 0
    for number, line in read_lines(file.path):
        if number % 2:
            article = line
        else:
            yield _record(file.path, number - 1, str(number // 2), lang, target_lang, {"text": article}, (line,))
    if number % 2:
        found = f"{number} lines, an odd number"
        raise MGLMError(f"{file.path}, line {number}", found=found, expected="a summary after every article")


def _tagged(path: Path, lang: str, target_lang: str) -> Iterator[Record | Rejected]:
    """Lines `<doc id=N>`, `<Article>` and, a sentence each, `<EN-REF1>`, `<ZH-REF1>`, `<EN-REF2>` …, each closed by a
    line `</…>`. The summary is the sentences of the target's language, those that people corrected where there are any.
    """
    texts: dict[tuple[str, str, bool], str] = {}  # by tag's name, its number and whether people corrected it
    wanted = f"{target_lang.upper()}-REF"
    key, begun, opened = "", 0, None
    for number, line in read_lines(path):
        if tag := _TAG.fullmatch(line.strip()):
            closes, name, rest = tag.groups()
            if name != "doc":
                opened = None if closes else (name, "".join(filter(str.isdigit, rest)), "human-corrected" in rest)
            elif not closes:
                if begun:
                    break
                texts, key, begun = {}, rest.partition("=")[2].strip("\"' ") or str(number), number
            else:
                numbers = dict.fromkeys(at for name, at, _ in texts if name == wanted)
                said = [texts.get((wanted, at, True)) or texts.get((wanted, at, False), "") for at in numbers]
                article = {"text": texts.get(("Article", "", False), "")}
                yield _record(path, begun, key, lang, target_lang, article, (" ".join(filter(None, said)),))
                begun = 0
        elif opened is not None:
            texts[opened] = f"{texts.get(opened, '')} {line.strip()}".strip()
        elif line.strip():
            expected = "a line <doc id=…>, <Article> or <ZH-REF…>"
            raise MGLMError(f"{path}, line {number}", found=line[:60], expected=expected)
    if begun:
        raise MGLMError(f"{path}, line {begun}", found="no </doc>", expected="one for each <doc>")


def read_parallel(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """MTG and XWikis: texts line by line, and their summaries line by line in the file beside."""
    target_lang, lang = _languages(file, source)
    texts, targets = read_lines(file.path), read_lines(file.beside[0])
    while True:
        text, target = next(texts, None), next(targets, None)
        if text is None and target is None:
            return
        if text is None or target is None:
            longer, short = (file.path, file.beside[0]) if target is None else (file.beside[0], file.path)
            number = (text or target or (0, ""))[0]
            raise MGLMError(f"{short}", found=f"{number - 1} lines", expected=f"as many as {longer} has")
        yield _record(
            file.path, text[0], str(text[0]), lang, target_lang, {"text": _unparsed(text[1])}, (_unparsed(target[1]),)
        )


def read_jsonl(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """Records of JSONL, or of CSV with a header. `fields` names the columns of `text`, `target`, `id`, `lang` and
    `target_lang` where they are called otherwise, and may name more texts for the prompt; a text of several columns is
    `title+text`. A text may be a list of sentences; a target may be a list of equally good ones."""
    named = {"text": "text", "target": "target", "id": "id", "lang": "lang", "target_lang": "target_lang"}
    columns = named | source.fields
    stated_target, stated_lang = _languages(file, source)
    for number, row in read_table(file.path):
        texts: dict[str, str] = {}
        for name, column in columns.items():
            if name in ("target", "id", "lang", "target_lang") or (name == "text" and not column):
                continue
            parts = [_text_of(row, part, file.path, number) for part in column.split("+")]
            texts[name] = " ".join(filter(None, parts))
        targets = row.get(columns["target"])
        if columns["target"] not in row:
            _missing(row, columns["target"], file.path, number)
        answers = tuple(map(str, targets)) if isinstance(targets, list) else (str(targets or ""),)
        lang = language_of(str(row.get(columns["lang"]) or "")) or stated_lang
        target_lang = language_of(str(row.get(columns["target_lang"]) or "")) or stated_target or lang
        stated = row.get(columns["id"])
        key = str(number if stated is None or stated == "" else stated)
        yield _record(file.path, number, key, lang, target_lang, texts, answers)


def read_scisummnet(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """Scisummnet-zh: JSONL `{pid, zh_sum}`, and each paper as `<pid>.xml` anywhere under the user's folders.

    A paper's text is the sentences (`S`) of its sections, as the authors take it: not its title and its abstract, with
    which its summary begins.
    """
    target_lang, lang = _languages(file, source)
    papers = {path.stem: path for root in inputs if root.is_dir() for path in root.rglob("*.xml")}
    if not papers:
        found, action = "no <pid>.xml in any --input", "give the folder of Scisummnet's papers too (top1000_complete)"
        raise MGLMError(f"{file.path}", found=found, expected="the papers of its summaries", action=action)
    for number, row in read_objects(file.path):
        pid = _text_of(row, "pid", file.path, number)
        summary = _text_of(row, "zh_sum", file.path, number)
        if pid not in papers:
            yield Rejected(str(file.path), number, "no_paper", pid)
            continue
        texts = {"text": _paper(papers[pid])}
        yield _record(file.path, number, pid, lang, target_lang, texts, (summary,))


def read_wikilingua(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """WikiLingua's pickles: url → section → document, summary and, but for English, the English section's place.

    The target is the English summary. A pickle can run anything when it is read; this reader takes plain containers and
    strings alone. Translations of one English article are one group.
    """
    target_lang, lang = _languages(file, source)
    articles, english = _unpickled(file.path), _unpickled(file.beside[0])
    try:
        for url, sections in articles.items():
            for section, article in sections.items():
                english_url = str(article.get("english_url", url))
                english_section = str(article.get("english_section_name", section))
                summary = english.get(english_url, {}).get(english_section, {}).get("summary", "")
                key = f"{english_url}#{english_section}#{section}"
                texts = {"text": str(article["document"])}
                yield _record(file.path, 0, key, lang, target_lang, texts, (str(summary),), group=english_url)
    except (KeyError, AttributeError) as error:
        expected = "url → section → document, summary"
        raise MGLMError(f"{file.path}", found=f"no {error}", expected=expected) from None


def read_pairs(file: FoundFile, source: "Source", inputs: Sequence[Path]) -> Iterator[Record | Rejected]:
    """XNLI and PAWS-X: two sentences and a label, separated by tabs; in files of four columns, an id before them.

    `fields` names the two texts for the prompt, as `first` and `second`.
    """
    target_lang, lang = _languages(file, source)
    first, second = source.fields.get("first", "first"), source.fields.get("second", "second")
    for number, cells in read_columns(file.path, 3):
        if cells[-1] == "label" or cells[:2] == ["sentence1", "sentence2"]:
            continue  # a header
        key, (one, two, label) = (cells[0], cells[1:4]) if len(cells) == 4 else (str(number), cells[:3])
        yield _record(
            file.path,
            number,
            key,
            lang,
            target_lang,
            {first: one, second: two},
            (_LABELS.get(label.strip(), label.strip()),),
            group=one,
        )


READERS: dict[str, Reader] = {
    "squad": read_squad,
    "alternating": read_alternating,
    "parallel": read_parallel,
    "jsonl": read_jsonl,
    "scisummnet": read_scisummnet,
    "wikilingua": read_wikilingua,
    "pairs": read_pairs,
    "summaries": read_jsonl,  # records of examples/documents.jsonl; `eval.summaries` reads them
}


def _languages(file: FoundFile, source: "Source") -> tuple[str, str]:
    """(target's, source's) language, from the declaration or the name; what neither says is ''."""
    lang = source.lang or file.lang("lang")
    return source.target_lang or file.lang("target_lang") or (lang if not source.translate else ""), lang


def _record(
    path: Path,
    line: int,
    key: str,
    lang: str,
    target_lang: str,
    texts: dict[str, str],
    targets: Sequence[str],
    group: str = "",
) -> Record | Rejected:
    kept = tuple(target for target in targets if target.strip())
    empty = next((name for name, text in texts.items() if not text.strip()), None)
    reason = f"no_{empty}" if empty else "" if kept else "no_target"
    if reason:
        raw = " ".join([key, *texts.values(), *targets])
        return Rejected(str(path), line, reason, raw[:RAW_CHARACTERS].strip())
    return Record(key, lang, target_lang, texts, kept, group, str(path), line)


def _text_of(row: dict[str, Any], column: str, path: Path, number: int) -> str:
    if column not in row:
        _missing(row, column, path, number)
    value = row[column]
    if isinstance(value, list) and all(isinstance(sentence, str) for sentence in value):
        return " ".join(value)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        found = f"{column} is {type(value).__name__}"
        raise MGLMError(f"{path}, line {number}", found=found, expected="a text or a list of sentences")
    return str(value)


def _missing(row: dict[str, Any], column: str, path: Path, number: int) -> None:
    action = "name the columns by `fields` of the task's source"
    found = f"fields {', '.join(map(str, row))}"
    raise MGLMError(f"{path}, line {number}", found=found, expected=f"{column}", action=action)


def _unparsed(line: str) -> str:
    return _PARSED_SIGN.sub(lambda match: _PARSED[match.group()], line).strip()


def _paper(path: Path) -> str:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise MGLMError(f"{path}", found=str(error), expected="XML") from None
    sentences = dict.fromkeys(sentence for section in root.iter("SECTION") for sentence in section.iter("S"))
    return " ".join(filter(None, (" ".join("".join(sentence.itertext()).split()) for sentence in sentences)))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except Exception as error:  # pickle raises whatever a broken stream leads it to
        raise MGLMError(f"{path}", found=str(error), expected="a pickle of plain containers") from None
    if not isinstance(content, dict):
        raise MGLMError(f"{path}", found=type(content).__name__, expected="a dictionary by url")
    return content
