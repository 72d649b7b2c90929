"""The small world: everything follows from the seed, and every translation is known."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.examples import read_examples
from core.languages import code_of_label
from eval.config import EvalConfig
from eval.prepare import prepare
from mglm.world import ROLES, SCRIPTS, TASK_NAME, World, WorldConfig, make_world

SMALL = WorldConfig(documents=40, train=3, heldout=2)


@given(st.integers(0, 1000))
def test_a_word_has_one_meaning_in_a_language_and_families_share_none(seed: int) -> None:
    world = World(WorldConfig(seed=seed, families=[2, 2, 1]))
    for one in world.languages.values():
        assert len(set(one.words.values())) == len(one.words)
        for other in world.languages.values():
            if other.family != one.family:
                assert not set(one.words.values()) & set(other.words.values())


def test_relatives_share_as_many_words_as_stated_and_the_order() -> None:
    world = World(WorldConfig(families=[2, 1], words=[10, 10, 20], related_share=0.25))
    one, other = world.languages["qaa"], world.languages["qab"]
    shared = [concept for concept in one.words if one.words[concept] == other.words[concept]]
    assert len(shared) == 10
    assert {role for role, _ in shared} <= set(ROLES), "the words of a prompt are each language's own"
    assert one.order == other.order != world.languages["qba"].order


def test_scripts_are_letters_without_case_that_no_two_families_share() -> None:
    sets = [
        {chr(point) for point in range(first, last + 1) if chr(point).isalpha()} for first, last in SCRIPTS.values()
    ]
    assert all(len(letters) > 15 for letters in sets)
    assert all(letter.lower() == letter for letters in sets for letter in letters)
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_a_title_is_the_first_sentence_word_by_word_in_the_other_language() -> None:
    world = World(SMALL)
    for record in world.examples("heldout", 2):
        source, target = (world.languages[record[name]] for name in ("lang", "target_lang"))
        meaning = {word: concept for concept, word in source.words.items()}
        first = [meaning[word] for word in record["text"].split(".")[0].split()]
        assert [role for role, _ in first] == list(source.order)
        assert set(record["title"].split()) == {target.words[concept] for concept in first}
        assert world.written_in(record["title"]) >= {target.code}


def test_a_mixture_of_families_is_written_in_no_language() -> None:
    world = World(SMALL)
    one, other = world.languages["qaa"].words["agent", 0], world.languages["qca"].words["act", 0]
    assert world.written_in(one) >= {"qaa"}
    assert world.written_in(f"{one} {other}") == frozenset()
    assert world.written_in("") == frozenset()


def test_the_same_seed_writes_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_world(SMALL.model_copy(update={"seed": seed}), tmp_path / name)
    files = {name: {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.*l")} for name in "abc"}
    assert files["a"] == files["b"]
    assert all(files["a"][name] != files["c"][name] for name in files["a"])


@pytest.mark.parametrize("sentences", [1, 3])
def test_what_held_out_articles_say_is_in_no_document_and_no_training_example(sentences: int) -> None:
    world = World(WorldConfig(words=[4, 4, 3], sentences=sentences, documents=200))
    seen = " ".join(record["text"] for record in [*world.documents(), *world.examples("train", 200)])
    asked = list(world.examples("heldout", 50))
    assert not any(record["title"] in seen for record in asked)
    words = {word for record in asked for word in record["title"].split()}
    assert words <= set(seen.replace(".", " ").replace(":", " ").split()), "every word of them is"


def test_the_ordinary_command_makes_examples_with_each_language_s_own_prompt(tmp_path: Path) -> None:
    make_world(SMALL, tmp_path / "world")
    task = str(tmp_path / "world" / TASK_NAME)
    made = prepare(task, [tmp_path / "world"], tmp_path / "examples", EvalConfig(pairs=["qaa-qca", "qca-qba"]))
    assert {lang: count["train"] for lang, count in made.counts.items()} == {"qaa": 3, "qca": 3}
    world = World(SMALL)
    for example in read_examples(tmp_path / "examples" / "train.jsonl"):
        target = world.languages[example.target_lang]
        assert target.words["title", 0] in example.source[0].value
        assert example.source[1].value == "[MASK]"


def test_documents_have_titles_in_all_languages_and_prompts_in_their_words() -> None:
    world = World(WorldConfig(documents=300))
    texts = [record["text"] for record in world.documents() if record["lang"] == "qba"]
    for target in world.languages:
        for words in world.languages:
            begins = world.prompt(target, words).partition("{mask}")[0]
            assert any(text.startswith(begins) for text in texts)


@pytest.mark.parametrize("code", ["qaa", "qba", "qtz"])
def test_codes_for_local_use_stand_for_themselves(code: str) -> None:
    assert code_of_label(code) == code
    assert code_of_label("qua") == "und"  # Quechua, outside the range and outside the 101


def test_the_task_is_toml_that_a_person_can_read(tmp_path: Path) -> None:
    make_world(SMALL, tmp_path / "world")
    text = (tmp_path / "world" / TASK_NAME).read_text("utf-8")
    assert "\\u" not in text
    assert json.loads((tmp_path / "world" / "heldout.jsonl").read_text("utf-8").splitlines()[0])["title"]
