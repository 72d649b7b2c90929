"""Measures corpus/script_lengths.csv: how many characters each script takes for what Latin script says in one.

From texts that exist in many languages, document by document: news (NTREX), health advice (TICO-19), the declaration of
human rights. Every language is compared with English on the documents it shares with it; a script's factor is the
pooled ratio of its languages over that of the languages in Latin script.
"""

import argparse
import csv
import gzip
import io
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.record import write_record
from benchmarks.texts import POOL
from core.languages import languages
from core.manifest import write_atomically
from core.scripts import script_of
from core.text import normalise
from corpus.line_rules import ends_in_mark
from corpus.script_lengths import SAME_ROW, TABLE_NAME

PARALLEL = ("ntrex", "tico19", "udhr")
WHOLE = "udhr"  # cut at other places in each language, so compared as one text
LEAST_DOCUMENTS = 20  # shared with English; fewer say nothing
TABLE = Path(__file__).parents[1] / "corpus" / TABLE_NAME


def main() -> None:
    """Measures, writes the table, and the record with the languages that differ most from their script."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not POOL.is_dir():
        sys.exit(f"error: {POOL}: not there; this measurement needs texts that exist in many languages")
    lengths, scripts, marks = read_pool()
    english = {source: documents for (lang, source, _), documents in lengths.items() if lang == "en"}
    own: Counter[str] = Counter()
    same: Counter[str] = Counter()
    of_language: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for (lang, source, variety), documents in lengths.items():
        shared = documents.keys() & english[source].keys()
        if source != WHOLE and len(shared) < LEAST_DOCUMENTS:
            continue
        if source == WHOLE:
            here, there = sum(documents.values()), sum(english[source].values())
        else:
            here, there = sum(documents[key] for key in shared), sum(english[source][key] for key in shared)
        script = scripts[lang, source, variety].most_common(1)[0][0]
        own[script] += here
        same[script] += there
        of_language[script, lang][0] += here
        of_language[script, lang][1] += there
    latin = own["Latn"] / same["Latn"]
    table, shown = [], []
    for script in sorted(own):
        factor = own[script] / same[script] / latin
        members = {lang: here / there / latin for (of, lang), (here, there) in of_language.items() if of == script}
        share = marks[script][True] / marks[script].total()
        table.append([script, f"{factor:.2f}", f"{share:.2f}", len(members), own[script]])
        low, high = min(members, key=lambda lang: members[lang]), max(members, key=lambda lang: members[lang])
        span = f"{low} {members[low]:.2f} – {high} {members[high]:.2f}" if len(members) > 1 else low
        shown.append([script, f"{factor:.2f}", round(200 * factor), f"{share:.0%}", len(members), own[script], span])
    write_table(table)
    missing = sorted({SAME_ROW.get(language.script, language.script) for language in languages().values()} - set(own))
    write_record(
        "script_lengths",
        "Characters of each script for what Latin script says in one",
        [
            "script",
            "factor",
            "200 Latin characters",
            "lines ending in a mark",
            "languages",
            "characters",
            "span",
        ],
        shown,
        remarks=[
            "Texts that exist in many languages (NTREX, TICO-19, the declaration of human rights), compared with "
            "English document by document; Latin script is 1, so mC4's lengths keep their meaning there. The file "
            f"is `corpus/{TABLE_NAME}`.",
            f"Main scripts of the 101 languages without a row: {', '.join(missing) or 'none'}. "
            "Chinese in either script is Hani.",
        ],
    )


def read_pool() -> tuple[
    dict[tuple[str, str, str], dict[str, int]], dict[tuple[str, str, str], Counter[str]], dict[str, Counter[bool]]
]:
    """Characters by (language, source, variety) and document; their scripts; and lines with and without a mark."""
    lengths: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    scripts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    marks: dict[str, Counter[bool]] = defaultdict(Counter)
    for path in sorted(POOL.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if record["source"] not in PARALLEL:
                    continue
                source, variety, document = record["id"].split(":", 2)
                text, key = normalise(record["text"]), (record["lang"], source, variety)
                lengths[key][document] = len(text)
                script = script_of(text)
                script = SAME_ROW.get(script, script)
                scripts[key][script] += 1
                marks[script].update(ends_in_mark(part, script) for part in text.split("\n") if part)
    return lengths, scripts, marks


def write_table(rows: list[list[object]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["script", "factor", "ends_in_mark", "languages", "characters"])
    writer.writerows(rows)
    write_atomically(TABLE, buffer.getvalue())


if __name__ == "__main__":
    main()
