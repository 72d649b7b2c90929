"""The paper's figures of language balance beside what public counts give (paper, sections 3.2 and 3.5).

In: a directory of public tables: mc4.csv (the mT5 paper's table: code, tokens_B, pages_M, mt5_sampling_pct, kind), and
where they are there cc100.csv (the XLM-R paper's) and wikipedia_mbert.csv (Wikipedia's sizes). Out: a report in
Markdown, every figure of which but those called published is computed. The paper's own counts are not published: mC4
has its 101 languages and is the nearest thing.
"""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balancing.compare import ALPHA_OF_MBERT, most_moved
from balancing.counts import CODE_COLUMNS, Columns, Counts, read_counts
from balancing.fit import build_plan
from balancing.markdown import table
from balancing.shares import power_shares
from core.errors import MGLMError
from core.languages import INDIAN_LANGUAGES_OF_THE_PAPER, canonical_code, language_name
from core.plan import Plan

PUBLISHED_BEFORE, PUBLISHED_AFTER = 4.65, 6.12  # section 3.5: the seven Indian languages in mT5 and in mGLM, %
PUBLISHED_BLOOM = 1.04  # the same, of BLOOM's model card
PUBLISHED_MOST_MOVED = ("en", "ru", "es", "fr", "it")  # section 3.2
ALPHA_OF_XLMR = 0.3
# BERT's multilingual.md: English is sampled so many times more often than Icelandic, before and after.
PUBLISHED_ENGLISH_TO_ICELANDIC = (1000, 100)


def report(tables: Path) -> str:
    """The whole report.

    Raises:
        MGLMError: no mc4.csv in `tables`, or a table without the columns it is known by.
    """
    path = tables / "mc4.csv"
    pages, tokens = (read_counts(path, Columns(count=column)) for column in ("pages_M", "tokens_B"))
    published = read_counts(path, Columns(count="mt5_sampling_pct")).counts
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if "en" not in pages.counts:
        raise MGLMError(f"{path}", found="no row of en", expected="the table of the mT5 paper, whole")
    code = next(name for name in CODE_COLUMNS if name in rows[0])
    variants = {canonical_code(row[code]) for row in rows if row.get("kind", "language") != "language"}
    alone, plan = build_plan(pages, strategy="alpha"), build_plan(pages)
    parts = [
        _headline(published, alone, plan),
        _open_questions(pages, tokens, variants, tables / "cc100.csv"),
        _most_moved(alone, plan),
        _mixes(published, alone, tables),
    ]
    return "\n".join(parts)


def _headline(published: Mapping[str, float], alone: Plan, plan: Plan) -> str:
    total = math.fsum(published.values())
    rows = [
        ["the paper: mT5, before", f"{PUBLISHED_BEFORE:.2f}", "–", "published, §3.5"],
        ["mT5's own column, added up", *_two(_shares_of(published)), f"published; the column sums to {total:.2f}"],
        ["stage 2 alone, α 0.3", *_two(alone.shares()), "computed"],
        ["both stages, α 0.3", *_two(plan.shares()), "computed"],
        ["the paper: mGLM, after", f"{PUBLISHED_AFTER:.2f}", "–", "published, §3.5"],
        ["BLOOM", f"{PUBLISHED_BLOOM:.2f}", "–", "published, its model card"],
    ]
    indian = ", ".join(INDIAN_LANGUAGES_OF_THE_PAPER)
    return (
        f"# The paper's language shares, on mC4's {len(plan.languages)} page counts\n\n"
        f"Seven Indian languages ({indian}), together, and English, in % of the training.\n\n"
        + table(["", "seven Indian", "English", "source"], rows)
    )


def _open_questions(pages: Counts, tokens: Counts, variants: set[str], cc100: Path) -> str:
    kept = {code: count for code, count in pages.counts.items() if code not in variants}
    languages = Counts(kept, pages.unit)
    readings: list[tuple[str, Counts, dict[str, Any]]] = [
        ("as above: line over rank, least squares, pages, all rows", pages, {}),
        ("curve: line over ln(rank), a power law proper", pages, {"curve": "zipf"}),
        (f"rows: the {len(kept)} languages without the -Latn variants", languages, {}),
        ("unit: tokens", tokens, {}),
        ("unit: tokens, and without the -Latn variants", _only(tokens, kept), {}),
        ("regression: Theil–Sen", pages, {"regression": "theil-sen"}),
        ("fitted range: languages of a million pages and more", pages, {"fit_min_count": 1.0}),
        ("fitted range: without the five largest", pages, {"fit_ranks": "6:"}),
    ]
    if cc100.is_file():
        readings.append(("corpus: CC-100, GiB", _cc100(cc100, "Size (GiB)"), {}))
    rows, found = [], []
    base = build_plan(pages).shares()
    for name, counts, options in readings:
        shares = build_plan(counts, **options).shares()
        before = build_plan(counts, strategy="alpha").shares()
        found.append(_indian(shares))
        change = "" if shares == base else f"{_indian(shares) - _indian(base):+.2f}"
        rows.append([name, f"{_indian(before):.2f}", *_two(shares), change])
    return (
        "## What the paper leaves unstated, and how much it matters\n\n"
        "The paper publishes neither its counts nor their unit, names the curve a power law but draws a straight line "
        "over rank, and does not say how the line was fitted, through which languages, or whether script variants are "
        "rows of their own. Each row changes one of these. The logarithm's base changes nothing.\n\n"
        + table(["reading", "α alone", "both stages", "English", "changes by"], rows)
        + f"\nThe readings reach from {min(found):.2f} to {max(found):.2f}; the paper's {PUBLISHED_AFTER} is "
        + ("among them" if max(found) >= PUBLISHED_AFTER >= min(found) else "beyond all of them")
        + ": what remains is its corpus of 25 TB, whose counts only its authors have.\n"
    )


def _most_moved(alone: Plan, plan: Plan) -> str:
    above = sorted(plan.languages, key=lambda row: -(row.residual or 0.0))
    order = [row.code for row in above]
    n = len(PUBLISHED_MOST_MOVED)
    common = [code for code in PUBLISHED_MOST_MOVED if code in order[:n]]
    others = [
        f"{language_name(code)} is number {order.index(code) + 1}"
        for code in PUBLISHED_MOST_MOVED
        if code not in common
    ]
    before = alone.shares()
    reduced, raised = most_moved({row.code: row.share - before[row.code] for row in plan.languages})
    rows = [
        ["the paper, §3.2", ", ".join(PUBLISHED_MOST_MOVED)],
        ["above the line, in ln(pages)", ", ".join(f"{row.code} {row.residual:+.2f}" for row in above[:n])],
        ["below the line, in ln(pages)", ", ".join(f"{row.code} {row.residual:+.2f}" for row in above[: -n - 1 : -1])],
        ["lose by stage 1, points of the training", _signed(reduced)],
        ["gain by stage 1, points of the training", _signed(raised)],
    ]
    return (
        "## Languages moved most\n\n"
        + table(["", "languages"], rows)
        + f"\n{len(common)} of the paper's {n} are among the {n} furthest above the line"
        + (f"; {', '.join(others)}" if others else "")
        + ".\n"
    )


def _mixes(published: Mapping[str, float], alone: Plan, tables: Path) -> str:
    """The published mixes of other models from their own tables."""
    rows, remarks = [], []
    shares, column = alone.shares(), _shares_of(published)
    rows.append(["mT5, α 0.3, pages of mC4", *_raw_and(_raw(alone), shares)])
    apart, code = max((abs(shares[code] - column[code]), code) for code in shares)
    remarks.append(f"mT5: its published column is met to {100 * apart:.2f} points ({code}) at worst.")
    if (path := tables / "cc100.csv").is_file():
        for name in ("Size (GiB)", "Tokens (M)"):
            sizes = _column(path, "Language", name)
            codes = _column_of_text(path, "Language", "ISO code")
            rows.append([f"XLM-R, α {ALPHA_OF_XLMR:g}, {name} of CC-100", *_mix(sizes, codes, ALPHA_OF_XLMR)])
        remarks.append("XLM-R: its authors publish the exponent and the sizes, not the shares, nor the unit they took.")
    else:
        remarks.append(f"XLM-R: not computed, there is no {path}.")
    if (path := tables / "wikipedia_mbert.csv").is_file():
        member = _column_of_text(path, "Language", "In mBERT?")
        codes = _column_of_text(path, "Language", "Wiki")
        sizes = {
            name: size for name, size in _column(path, "Language", "Wiki Size (bytes)").items() if member[name] == "y"
        }
        rows.append(
            [f"mBERT, α {ALPHA_OF_MBERT:g}, bytes of {len(sizes)} Wikipedias", *_mix(sizes, codes, ALPHA_OF_MBERT)]
        )
        by_code = _by_code(sizes, codes)
        ratio = by_code["en"] / by_code["is"]
        before, after = PUBLISHED_ENGLISH_TO_ICELANDIC
        remarks.append(
            f"mBERT: English to Icelandic is {ratio:.0f} : 1 as counted and {ratio**ALPHA_OF_MBERT:.0f} : 1 after "
            f"smoothing; its authors write {before} and {after}. The sizes are of a later dump, and the table marks "
            f"{len(sizes)} of its 104 languages."
        )
    else:
        remarks.append(f"mBERT: not computed, there is no {path}.")
    head = ["", "English as counted", "English", "seven Indian as counted", "seven Indian", "least"]
    return (
        "## Mixes of other models, computed from their tables, in %\n\n"
        + table(head, rows)
        + "\n"
        + "\n".join(f"- {remark}" for remark in remarks)
        + "\n"
    )


def _mix(sizes: Mapping[str, float], codes: Mapping[str, str], alpha: float) -> list[str]:
    """Raw and smoothed shares; rows are known by their names, since a code may have two rows (zh, no and nn, …)."""
    names = list(sizes)
    raw = dict(zip(names, power_shares(list(sizes.values()), 1.0), strict=True))
    smooth = dict(zip(names, power_shares(list(sizes.values()), alpha), strict=True))
    return _raw_and(_by_code(raw, codes), _by_code(smooth, codes), least=min(smooth.values()))


def _by_code(shares: Mapping[str, float], codes: Mapping[str, str]) -> dict[str, float]:
    added: dict[str, float] = {}
    for name, share in shares.items():
        added[codes[name]] = added.get(codes[name], 0.0) + share
    return added


def _raw_and(raw: Mapping[str, float], shares: Mapping[str, float], least: float | None = None) -> list[str]:
    return [
        f"{100 * raw['en']:.2f}",
        f"{100 * shares['en']:.2f}",
        f"{_indian(raw):.2f}",
        f"{_indian(shares):.2f}",
        f"{100 * (min(shares.values()) if least is None else least):.2g}",
    ]


def _cc100(path: Path, column: str) -> Counts:
    """CC-100 by language: rows of the same language in two scripts added up, rows without a code left out."""
    codes = _column_of_text(path, "Language", "ISO code")
    added = _by_code(_column(path, "Language", column), codes)
    return Counts({canonical_code(code): size for code, size in added.items() if code != "-"}, column)


def _only(counts: Counts, kept: Mapping[str, float]) -> Counts:
    return Counts({code: count for code, count in counts.counts.items() if code in kept}, counts.unit)


def _column(path: Path, key: str, name: str) -> dict[str, float]:
    """A column of numbers, with commas at the thousands, by the text of another."""
    numbers = {}
    for row, cell in _column_of_text(path, key, name).items():
        try:
            numbers[row] = float(cell.replace(",", ""))
        except ValueError:
            raise MGLMError(f"{path}, {row}", found=repr(cell), expected=f"a number in column {name}") from None
    return {row: number for row, number in numbers.items() if number > 0}


def _column_of_text(path: Path, key: str, name: str) -> dict[str, str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := {key, name} - set(reader.fieldnames or ()):
            raise MGLMError(
                f"{path}",
                found=f"columns {', '.join(reader.fieldnames or ()) or 'none'}",
                expected=f"a column {', '.join(sorted(missing))}",
            )
        return {row[key]: row[name] or "" for row in reader}


def _shares_of(percent: Mapping[str, float]) -> dict[str, float]:
    return {code: value / 100 for code, value in percent.items()}


def _raw(plan: Plan) -> dict[str, float]:
    return {row.code: row.raw_share for row in plan.languages}


def _indian(shares: Mapping[str, float]) -> float:
    """Percent of the seven Indian languages of section 3.5."""
    return 100 * math.fsum(shares.get(code, 0.0) for code in INDIAN_LANGUAGES_OF_THE_PAPER)


def _two(shares: Mapping[str, float]) -> list[str]:
    return [f"{_indian(shares):.2f}", f"{100 * shares['en']:.2f}"]


def _signed(moves: Mapping[str, float]) -> str:
    return ", ".join(f"{code} {100 * move:+.2f}" for code, move in moves.items())
