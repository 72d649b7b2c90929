"""The 101 languages of the project: codes, names, main scripts, and the labels that known detectors give them.

Codes are mC4's (`iw` for Hebrew, `fil` for Filipino); `canonical_code` takes the usual aliases.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

# Detectors whose label sets we know; the keys are columns of languages.csv.
DETECTOR_FAMILIES = ("lid176", "flores200", "openlid", "glotlid_v3")

ALIASES = {"he": "iw", "tl": "fil", "nb": "no", "nn": "no", "jw": "jv", "in": "id", "ji": "yi", "zh-cn": "zh"}

UNKNOWN = "und"  # the bucket of text that no detector placed, ISO 639-3's code for undetermined

INDIAN_LANGUAGES_OF_THE_PAPER = ("ta", "te", "bn", "gu", "mr", "ml", "kn")  # paper, section 3.5


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
def code_of_label() -> dict[str, str]:
    """Every label that a known detector emits for one of the 101 → its code.

    The families do not contradict one another, so one table serves all; iso3 with script (`eng_Latn`) is included, so
    user-trained detectors may use any of these forms.
    """
    table = dict(ALIASES)
    for language in languages().values():
        table[language.code] = language.code
        table[f"{language.iso3}_{language.script}"] = language.code
        for label in language.labels.values():
            table[label] = language.code
    # Other scripts and varieties of the same language that detectors tell apart.
    table |= {"zho_Hant": "zh", "nno_Latn": "no", "prs_Arab": "fa", "sw": "sw", "swa_Latn": "sw", "ekk_Latn": "et"}
    return table
