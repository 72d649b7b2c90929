"""A small world of made-up languages whose translation is known: what transfer looks like where minutes are enough.

Everything follows from a seed. Languages of one family share a script, an order of words and part of their words, as
relatives do; other families share nothing. An article is a sentence or more, each an agent, an act and an object; its
title is its first sentence. So a title in any language is known word by word, and can be scored exactly. What held-out
articles say stands in no document and no training example, in no language: its words do.

Out: JSONL that the ordinary commands read (documents for the corpus, articles with titles for fine-tuning) and the
declaration of the task. Knows nothing of models.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from random import Random
from typing import Self

from pydantic import Field, model_validator

from core.config import Section
from core.manifest import Manifest
from core.stage import open_stage

ROLES = ("agent", "act", "object")
ORDERS = (
    ("agent", "act", "object"), ("agent", "object", "act"), ("act", "agent", "object"), ("object", "act", "agent"),
    ("act", "object", "agent"), ("object", "agent", "act"),
)  # fmt: skip
# Alphabets without upper case, of living or old scripts that share no letter: name → first and last code point.
SCRIPTS = {
    "Georgian": (0x10D0, 0x10F0), "Tifinagh": (0x2D30, 0x2D65), "Ol Chiki": (0x1C5A, 0x1C77),
    "Lisu": (0xA4D0, 0xA4F7), "Bopomofo": (0x3105, 0x312F), "Gothic": (0x10330, 0x10340),
}  # fmt: skip
NAME, TITLE, TEXT = "name", "title", "text"  # the words of a prompt: what each language is called, and two more
TASK = "titles"
WORLD = "world/1"
MOST_WORDS = 1000  # of a language: those of two letters are then not used up
HELD_OUT, MOST_HELD_OUT = 8, 1000  # one sentence in so many is said in held-out articles alone; at most so many
DOCUMENTS_NAME, TASK_NAME = "documents.jsonl", "task.toml"
Sentence = tuple[int, int, int]  # which agent, act and object


class WorldConfig(Section):
    """How large the world of `mglm world` is. Its codes are of ISO 639-2's range for local use, qaa to qtz."""

    seed: int = Field(default=1, ge=0)
    """All that is made up follows from it."""
    families: list[int] = Field(default=[1, 1, 1], min_length=1, max_length=len(SCRIPTS))
    """Languages in each family; three or more together."""
    words: list[int] = Field(default=[6, 6, 6], min_length=3, max_length=3)
    """Agents, acts and objects that there are."""
    related_share: float = Field(default=0.5, ge=0, le=1)
    """Share of a family's words: those that its languages share."""
    sentences: int = Field(default=1, ge=1)
    """Sentences of an article."""
    documents: int = Field(default=2000, ge=20)
    """Documents of each language, to pretrain on."""
    titled_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the documents: those under a title."""
    own_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the titles: those in the article's language; the rest in any."""
    train: int = Field(default=400, ge=1)
    """Examples of each pair of languages to tune on."""
    heldout: int = Field(default=25, ge=1)
    """Examples of each pair that are held out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.families) < 1 or sum(self.families) < 3:
            raise ValueError("families must be of one language or more each, and of three or more together")
        if min(self.words) < 1 or sum(self.words) > MOST_WORDS:
            raise ValueError(f"words must be 1 or more of each role, and {MOST_WORDS} or fewer together")
        if max(self.words) < 2:
            raise ValueError("words must be 2 or more of a role: some sentences are held out")
        return self


@dataclass(frozen=True)
class MadeUpLanguage:
    """`words` by concept (a role and a number, or a word of the prompt); `order` of the roles in a sentence."""

    code: str
    family: int
    script: str
    order: tuple[str, ...]
    words: Mapping[tuple[str, int], str]

    def sentence(self, meant: Sentence) -> str:
        numbers = dict(zip(ROLES, meant, strict=True))
        return " ".join(self.words[role, numbers[role]] for role in self.order)

    def article(self, meant: Sequence[Sentence]) -> str:
        return " ".join(f"{self.sentence(one)}." for one in meant)

    def template(self, target: int) -> str:
        """The prompt for a title in language number `target`, in this language's words: the paper's "中文标题: [MASK]
        原文: [text]". Without spaces around what is filled in, since a tokenizer takes a space for a part of a word."""
        return f"{self.words[NAME, target]} {self.words[TITLE, 0]}:{{mask}}. {self.words[TEXT, 0]}:{{text}}"


class World:
    """The languages of a configuration, and what is written in them."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.languages = {language.code: language for language in _languages(config)}
        numbers = range(prod(config.words))
        held_out = min(max(1, len(numbers) // HELD_OUT), MOST_HELD_OUT)
        self._held_out = [self._meant(one) for one in Random(f"{config.seed} held out").sample(numbers, held_out)]
        self._not_to_learn = frozenset(self._held_out)

    def prompt(self, target: str, words: str) -> str:
        """The template that asks for a title in the language `target` in the words of the language `words`."""
        return self.languages[words].template(list(self.languages).index(target))

    def documents(self) -> Iterator[dict[str, str]]:
        """What the corpus is made of: plain articles, and articles under a title in some language, asked for in the
        words of that language or, as often, of any other."""
        config, codes = self.config, list(self.languages)
        for code in codes:
            draw = Random(f"{config.seed} documents {code}")
            for number in range(config.documents):
                meant = self._article(draw, "train")
                text = self.languages[code].article(meant)
                if draw.random() < config.titled_share:
                    target = code if draw.random() < config.own_share else draw.choice(codes)
                    words = target if draw.random() < 0.5 else draw.choice(codes)
                    title = self.languages[target].sentence(meant[0])
                    text = self.prompt(target, words).format(mask=title, text=text)
                yield {"id": f"{code}-{number}", "lang": code, "text": text}

    def examples(self, split: str, count: int) -> Iterator[dict[str, str]]:
        """Articles with a title, `count` for every pair of languages, a language with itself included."""
        for source, target in product(self.languages.values(), repeat=2):
            draw = Random(f"{self.config.seed} {split} {source.code} {target.code}")
            for number in range(count):
                meant = self._article(draw, split)
                yield {
                    "id": f"{split}-{number}", "lang": source.code, "target_lang": target.code,
                    "text": source.article(meant), "title": target.sentence(meant[0]),
                }  # fmt: skip

    def written_in(self, text: str) -> frozenset[str]:
        """The languages that have every word of a text: several for words that relatives share, none for a mixture."""
        words = set(text.replace(".", " ").replace(":", " ").split())
        return frozenset(
            code for code, language in self.languages.items() if words and words <= set(language.words.values())
        )

    def task(self) -> str:
        """The task's declaration as TOML: for each language of the title a prompt in its own words, and `parallel` ones
        in the words of the others."""
        prompts = "\n".join(f"{code} = {_quoted(self.prompt(code, code))}" for code in self.languages)
        groups = "\n".join(
            f"    {{ {', '.join(f'{words} = {_quoted(self.prompt(target, words))}' for words in self.languages)} }},"
            for target in self.languages
        )
        sources = "\n".join(
            f'    {{ split = "{split}", files = ["{split}.jsonl"], fields = {{ target = "title" }} }},'
            for split in ("train", "heldout")
        )
        return f"""# Titles in the made-up languages of a small world, made by `mglm world make`.
[{TASK}]
title = "Titles in made-up languages"
prompt = "{TASK}"
mask = "[MASK]"
sources = [
{sources}
]
parallel = [
{groups}
]
decoding = {{ max_new_tokens = 12, num_beams = 1, length_penalty = 0.0, no_repeat_ngram_size = 0 }}

[{TASK}.prompts.{TASK}]
{prompts}
"""

    def _article(self, draw: Random, split: str) -> list[Sentence]:
        return [self._sentence(draw, split) for _ in range(self.config.sentences)]

    def _sentence(self, draw: Random, split: str) -> Sentence:
        if split != "train":
            return draw.choice(self._held_out)
        while (meant := self._meant(draw.randrange(prod(self.config.words)))) in self._not_to_learn:
            pass
        return meant

    def _meant(self, number: int) -> Sentence:
        _, acts, objects = self.config.words
        return number // objects // acts, number // objects % acts, number % objects


def make_world(config: WorldConfig, output: Path, *, overwrite: bool = False) -> Manifest:
    """Makes the directory of a world; finished work there is not redone."""
    stage = open_stage(output, schema=WORLD, config=config.model_dump(), inputs={}, overwrite=overwrite)
    if stage.manifest is not None:
        return stage.manifest
    world = World(config)
    rows = write_world(world, output)
    languages = {
        code: {"family": one.family, "script": one.script, "order": " ".join(one.order)}
        for code, one in world.languages.items()
    }
    return stage.finish(rows=rows, facts={"languages": languages, "documents": rows[DOCUMENTS_NAME]})


def write_world(world: World, directory: Path) -> dict[str, int]:
    """Writes the world's files and returns how many records each has."""
    rows = {
        DOCUMENTS_NAME: _write(directory / DOCUMENTS_NAME, world.documents()),
        "train.jsonl": _write(directory / "train.jsonl", world.examples("train", world.config.train)),
        "heldout.jsonl": _write(directory / "heldout.jsonl", world.examples("heldout", world.config.heldout)),
    }
    (directory / TASK_NAME).write_text(world.task(), "utf-8")
    return rows


def _write(path: Path, records: Iterator[dict[str, str]]) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            rows += 1
    return rows


def _languages(config: WorldConfig) -> Iterator[MadeUpLanguage]:
    concepts = [(role, number) for role, count in zip(ROLES, config.words, strict=True) for number in range(count)]
    names = [(NAME, number) for number in range(sum(config.families))]
    scripts = list(SCRIPTS)
    Random(f"{config.seed} scripts").shuffle(scripts)
    for family, members in enumerate(config.families):
        draw = Random(f"{config.seed} family {family}")
        letters = _letters(*SCRIPTS[scripts[family]])
        taken: set[str] = set()
        common = {concept: _word(draw, letters, taken) for concept in concepts}
        shared = set(draw.sample(concepts, round(config.related_share * len(concepts))))
        for member in range(members):
            own = {
                concept: common[concept] if member == 0 or concept in shared else _word(draw, letters, taken)
                for concept in concepts
            }
            own |= {concept: _word(draw, letters, taken) for concept in [*names, (TITLE, 0), (TEXT, 0)]}
            code = f"q{chr(ord('a') + family)}{chr(ord('a') + member)}"
            yield MadeUpLanguage(code, family, scripts[family], ORDERS[family % len(ORDERS)], own)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _letters(first: int, last: int) -> str:
    return "".join(chr(point) for point in range(first, last + 1) if chr(point).isalpha())


def _word(draw: Random, letters: str, taken: set[str]) -> str:
    """A word of two to four letters that is not there yet."""
    while True:
        word = "".join(draw.choice(letters) for _ in range(draw.randint(2, 4)))
        if word not in taken:
            taken.add(word)
            return word
