"""The 101 languages of the project: codes, names, main scripts, and the labels that known detectors give them.

Codes are mC4's (`iw` for Hebrew, `fil` for Filipino); `canonical_code` takes the usual aliases.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

# Detectors whose label sets we know; the keys are columns of languages.csv.
DETECTOR_FAMILIES = ("lid176", "flores200", "openlid", "glotlid_v3")

ALIASES = {"he": "iw", "tl": "fil", "nb": "no", "nn": "no", "jw": "jv", "in": "id", "ji": "yi", "zh-cn": "zh"}

UNKNOWN = "und"  # the bucket of text that no detector placed, ISO 639-3's code for undetermined

INDIAN_LANGUAGES_OF_THE_PAPER = ("ta", "te", "bn", "gu", "mr", "ml", "kn")  # paper, section 3.5

# Other ISO 639-3 codes that belong to one of the 101: the code of the macrolanguage itself, its standard forms, the
# spoken Arabics (which write Arabic), and what is mutually intelligible. Members of a macrolanguage that are written by
# a standard of their own stay apart and are `und`: Cantonese and the other Chinese languages, Sorani and Southern
# Kurdish, Minangkabau, Banjar, Latgalian, Võro, Western Punjabi, and Croatian, Bosnian and Montenegrin beside Serbian.
VARIETIES = {
    "ar": "ara acm acq aeb afb ajp apc apd arq ars ary arz ayp shu",
    "az": "aze azb",
    "et": "ekk",
    "fa": "fas prs",
    "fil": "fil tgl",
    "hmn": "mww hnj hmv",
    "ku": "kur",
    "lv": "lav",
    "mg": "mlg",
    "mn": "mon mvf",
    "ms": "msa zlm",
    "ne": "nep",
    "no": "nor nno",
    "ps": "pus",
    "sq": "sqi aln",
    "sw": "swa swc",
    "uz": "uzb uzs",
    "yi": "yid yih",
    "zh": "cmn",
}

_ALEMANNIC = "als"  # in lid.176, which names Wikipedias; with a script (`als_Latn`) it is ISO 639-3's Tosk Albanian

_PRIVATE_USE = re.compile("q[a-t][a-z]")  # ISO 639-2 keeps these codes for local use: languages of a user's own

_SUBTAGGED = re.compile("([a-z]{2,3})(?:[-_][a-z0-9]{1,8})+")  # BCP 47, and iso3_Script as FLORES writes it


@dataclass(frozen=True)
class Language:
    """A language of the 101. `script` is the ISO 15924 code of its main script; `labels` by detector family."""

    code: str
    name: str
    iso3: str
    script: str
    labels: dict[str, str]


@cache
def languages() -> dict[str, Language]:
    """The 101 languages by code, most pages in mC4 first."""
    text = resources.files("core").joinpath("languages.csv").read_text("utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        labels = {family: row[family] for family in DETECTOR_FAMILIES if row[family]}
        table[row["code"]] = Language(row["code"], row["name"], row["iso3"], row["script"], labels)
    return table


def canonical_code(code: str) -> str:
    """`he` → `iw`, `tl` → `fil`, …; a code that is not an alias comes back unchanged, in lower case."""
    lowered = code.strip().lower()
    return ALIASES.get(lowered, lowered)


def language_name(code: str) -> str:
    """The English name, or the code itself outside the 101."""
    language = languages().get(code)
    return language.name if language else code


@cache
def code_of_label(label: str) -> str:
    """The code among the 101 that a detector's label stands for, whatever its form, else `und`.

    Codes of ISO 639-2's range for local use, qaa to qtz, stand for themselves: a language outside the 101 can go the
    whole road under one of them, with a detector that was trained on it.

    Labels of the known families are looked up as they are. Others may be a code of ours or an alias (`he`) or an
    ISO 639-3 code (`heb`), either with subtags (`heb_Hebr`, `pt-BR`, `uzn_Cyrl`): the language decides, whatever its
    script, since a document's script is read off its text.
    """
    known = _codes_of_known_labels()
    if label in known:
        return known[label]
    lowered = label.lower()
    if _PRIVATE_USE.fullmatch(lowered):
        return lowered
    if lowered == _ALEMANNIC:
        return UNKNOWN
    match = _SUBTAGGED.fullmatch(lowered)
    language = match[1] if match else lowered
    return known.get(language) or _codes_of_iso3().get(language, UNKNOWN)


def code_or_label(label: str) -> str:
    """The code that a label stands for, or else the label."""
    code = code_of_label(label)
    return label if code == UNKNOWN else code


def codes_without_label(labels: Iterable[str]) -> list[str]:
    """Those of the 101 that none of these labels stands for, in the order of `languages`."""
    named = {code_of_label(label) for label in labels}
    return [code for code in languages() if code not in named]


@cache
def _codes_of_known_labels() -> dict[str, str]:
    """Codes, aliases and the labels of the known families, which do not contradict one another."""
    table = dict(ALIASES) | {code: code for code in languages()}
    for language in languages().values():
        table |= dict.fromkeys(language.labels.values(), language.code)
    return table


@cache
def _codes_of_iso3() -> dict[str, str]:
    table = {language.iso3: language.code for language in languages().values()}
    for code, varieties in VARIETIES.items():
        table |= dict.fromkeys(varieties.split(), code)
    return table
