"""Which files of a data set belong to a task: published names, looked for in what the user gave."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.errors import MGLMError
from core.languages import canonical_code, languages

# English names of languages in file names that are not those of our table; some lie outside the 101.
_NAMES = {
    "bengali": "bn", "burmese": "my", "chinese": "zh", "chinese_simplified": "zh", "chinese_traditional": "zh",
    "kirundi": "rn", "kyrgyz": "ky", "norwegian": "no", "oromo": "om", "pashto": "ps", "persian": "fa", "pidgin": "pcm",
    "punjabi": "pa", "scottish_gaelic": "gd", "serbian_cyrillic": "sr", "serbian_latin": "sr", "sinhala": "si",
    "tigrinya": "ti",
}  # fmt: skip
_PIECE = re.compile(r"\*\*/|\*|\{(\w+)\}|[^*{]+|\{")


@dataclass(frozen=True)
class FoundFile:
    """A file with the languages its name says, as codes; `named` holds them as they are spelled there."""

    path: Path
    beside: tuple[Path, ...]
    named: Mapping[str, str]

    def lang(self, name: str) -> str:
        return language_of(self.named[name]) if name in self.named else ""


def language_of(name: str) -> str:
    """The code for a code or an English name, as file names have them."""
    lowered = name.strip().lower()
    return _by_name().get(lowered) or canonical_code(lowered)


def find_files(inputs: Sequence[Path], patterns: Sequence[str], beside: Sequence[str] = ()) -> list[FoundFile]:
    """Files under `inputs` (folders, or files themselves) that fit the first pattern that any fits, `.gz` or not.

    Raises:
        MGLMError: a file that must stand beside another does not.
    """
    for pattern in patterns:
        expression = _expression(pattern)
        found = []
        for path, shown in _candidates(inputs):
            if match := expression.search(shown):
                named = {key: value for key, value in match.groupdict().items() if value}
                found.append(FoundFile(path, tuple(_beside(path, text, named) for text in beside), named))
        if found:
            return found
    return []


def check_inputs(inputs: Sequence[Path]) -> None:
    """Raises MGLMError for a path that is not there, or an empty file."""
    for path in inputs:
        if not path.exists():
            raise MGLMError(f"input {path}", found="no such file", expected="a file or folder", action="check --input")
        if path.is_file() and path.stat().st_size == 0:
            raise MGLMError(f"input {path}", found="an empty file", expected="records", action="check --input")


def _candidates(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every file with its name as patterns see it: from the given folder on, that folder's own name included."""
    candidates: dict[Path, str] = {}
    for given in inputs:
        root = given.absolute()
        for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if path.is_file():
                absolute = path.absolute()
                candidates.setdefault(path, absolute.relative_to(root.parent).as_posix())
    return sorted(candidates.items(), key=lambda item: item[1])


def _expression(pattern: str) -> re.Pattern[str]:
    parts = []
    for match in _PIECE.finditer(pattern):
        piece, name = match.group(), match.group(1)
        if piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "*":
            parts.append("[^/]*")
        elif name:
            # A language's code or name; other placeholders may hold anything but a slash.
            inside = "[A-Za-z_]+" if name.endswith("lang") else "[^/]+"
            parts.append(f"(?P<{name}>{inside})")
        else:
            parts.append(re.escape(piece))
    return re.compile(f"(?:^|/){''.join(parts)}(?:\\.gz)?$")


def _beside(path: Path, pattern: str, named: Mapping[str, str]) -> Path:
    """`pattern` is relative to the first file's folder; `..` may lead out of it."""
    wanted = path.parent / pattern.format(**named)
    for candidate in (wanted, wanted.with_name(wanted.name + ".gz")):
        if candidate.exists():
            return candidate
    raise MGLMError(f"{path}", found=f"no {pattern.format(**named)} beside it", expected="both files of the data set")


@cache
def _by_name() -> dict[str, str]:
    return {language.name.lower(): code for code, language in languages().items()} | _NAMES
