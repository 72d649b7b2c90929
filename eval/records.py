"""What readers of data sets make: a record is texts with their right answers, not yet a prompt."""

from dataclasses import dataclass, field

from core.examples import Example

RAW_CHARACTERS = 500  # of a rejected record are kept


@dataclass(frozen=True)
class Record:
    """`texts` by the names that prompts have for them; `targets` are all right answers, the first to be learned.

    `lang` is the language of what is asked about or summarised, `target_lang` the answer's; `id` is unique among the
    records of one pair of languages and one split. Records of one `group` (their text when empty) share a split where a
    hash decides. `line` is where the record stood, 0 where files have no lines.
    """

    id: str
    lang: str
    target_lang: str
    texts: dict[str, str]
    targets: tuple[str, ...]
    group: str = ""
    source: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be used: where it stood, why, and its beginning."""

    source: str
    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Unsummarised:
    """A sound record without a summary: a document for the corpus, nothing for this task."""


@dataclass(frozen=True)
class LeftOut:
    """A sound record that the task does not take: another language, or a weight below one."""


Outcome = list[Example] | Rejected | Unsummarised | LeftOut


def example_id(part: str, pair: str, key: str) -> str:
    """The id of an example: a mixture's part where there is one, the pair of languages, the record's id."""
    return ":".join(filter(None, [part, pair, key]))


def item_of(example_id: str, target_lang: str) -> str:
    """What an example is about: its id without the languages. A question of XQuAD has one id in all of them, as has a
    line of MTG; that unrelated records may have the same number does no harm to what is drawn by it."""
    _, pair, key = example_id.partition(f"-{target_lang}:")
    return key if pair else example_id.removesuffix(f":{target_lang}")
