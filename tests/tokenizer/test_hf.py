import gzip
import itertools
import json
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tokenizer.encoding import COMMANDS, Tokenizer
from tokenizer.hf import tokenization_mglm
from tokenizer.hf.tokenization_mglm import MGLMTokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import MASKS, PROMPTS, source, summary_source

WEB_SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "corpora" / "web_sample.jsonl.gz"
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# In a process and a cache of its own, offline, as a user without this project would load it.
SCRIPT = """
import json, sys
from transformers import AutoTokenizer
texts = json.load(open(sys.argv[2]))
loaded = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
loaded.save_pretrained(sys.argv[3])
answers = []
for tokenizer in (loaded, AutoTokenizer.from_pretrained(sys.argv[3], trust_remote_code=True)):
    ids = [tokenizer(text).input_ids for text in texts]
    answers.append({
        "ids": ids,
        "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids],
        "batch": tokenizer(texts, padding=True)["input_ids"],
        "commands": {name: tokenizer.convert_tokens_to_ids(name) for name in json.loads(sys.argv[4])},
        "special": [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.mask_token_id],
        "source": tokenizer.source(texts[0], ". English Summary: ", max_tokens=30),
        "shown": tokenizer.decode([tokenizer.cls_token_id, *ids[0], tokenizer.eos_token_id]),
        "pieces": tokenizer.convert_tokens_to_string(tokenizer.tokenize(texts[0])),
        "inputs": tokenizer.build_inputs_for_generation(texts, max_tokens=30, return_tensors=None).data,
    })
print(json.dumps(answers))
"""


def test_the_class_that_travels_has_the_same_commands() -> None:
    assert tokenization_mglm.COMMANDS == COMMANDS


def test_auto_tokenizer_gives_the_same_ids_also_after_saving(
    tokenizer: Tokenizer, tokenizer_directory: Path, tmp_path: Path
) -> None:
    texts = [
        "The river rises in spring. " * 3,
        "  春天河水上涨。\n\n\tنعم",
        "".join(COMMANDS) + " <0x41> <unk>",
        "[MASK]",
        "y̆ 😀 \x00",
    ]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    arguments = [tokenizer_directory, tmp_path / "texts.json", tmp_path / "saved", json.dumps(list(COMMANDS))]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = [tokenizer.encode(text) for text in texts]
    longest = max(map(len, wanted))
    for answer in json.loads(done.stdout.splitlines()[-1]):
        assert answer["ids"] == wanted
        assert answer["decoded"] == texts
        assert answer["batch"] == [ids + [tokenizer.pad_id] * (longest - len(ids)) for ids in wanted]
        assert answer["commands"] == {name: tokenizer.command_id(name) for name in COMMANDS}
        assert answer["special"] == [tokenizer.eos_id, tokenizer.pad_id, tokenizer.cls_id, tokenizer.mask_id]
        assert answer["source"] == encode_source(tokenizer, summary_source(texts[0], "en"), 30).ids
        assert answer["shown"] == f"[CLS]{texts[0]}<|endoftext|>"
        assert answer["pieces"] == texts[0]
        rows = [[*encode_source(tokenizer, summary_source(text, "en"), 30).ids, tokenizer.sop_id] for text in texts]
        longest_row = max(map(len, rows))
        assert answer["inputs"]["input_ids"] == [[tokenizer.pad_id] * (longest_row - len(row)) + row for row in rows]
        assert answer["inputs"]["attention_mask"] == [[0] * (longest_row - len(row)) + [1] * len(row) for row in rows]


@pytest.fixture(scope="module")
def found(tokenizer_directory: Path) -> MGLMTokenizer:
    return MGLMTokenizer(str(tokenizer_directory / "tokenizer.model"))


TEXTS = st.text(max_size=60) | st.sampled_from([*COMMANDS, "{mask}", "The river rises in spring. " * 20, "\ud800"])


@quick
@given(data=st.data(), prompt=st.sampled_from(list(PROMPTS)), limit=st.integers(170, 230))
def test_its_inputs_are_those_of_training_for_every_prompt(
    found: MGLMTokenizer, tokenizer: Tokenizer, data: st.DataObject, prompt: str, limit: int
) -> None:
    lang = data.draw(st.sampled_from(list(PROMPTS[prompt])))
    fields = [field for _, field, _, _ in string.Formatter().parse(PROMPTS[prompt][lang])]
    names = [field for field in fields if field not in (None, "mask")]
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, TEXTS)), min_size=1, max_size=3))
    mask = MASKS[prompt]
    made = found.build_inputs_for_generation(
        rows, PROMPTS[prompt][lang], mask=mask, max_tokens=limit, return_tensors=None
    )
    for ids, attended, texts in zip(made["input_ids"], made["attention_mask"], rows, strict=True):
        wanted = [*encode_source(tokenizer, source(prompt, lang, **texts), limit).ids, tokenizer.sop_id]
        padding = len(ids) - len(wanted)
        assert ids == [tokenizer.pad_id] * padding + wanted
        assert attended == [0] * padding + [1] * len(wanted)


@quick
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_a_batch_is_its_texts_alone_and_padding(found: MGLMTokenizer, tokenizer: Tokenizer, texts: list[str]) -> None:
    for side in ("left", "right"):
        batch = found(texts, padding=True, padding_side=side)
        for ids, attended, text in zip(batch["input_ids"], batch["attention_mask"], texts, strict=True):
            assert [index for index, kept in zip(ids, attended, strict=True) if kept] == tokenizer.encode(text)
            assert {index for index, kept in zip(ids, attended, strict=True) if not kept} <= {tokenizer.pad_id}


def test_targets_are_labelled_as_fine_tuning_labels_them(found: MGLMTokenizer, tokenizer: Tokenizer) -> None:
    made = found.build_inputs_for_generation(
        ["The river", "水"], targets=["It rises. [MASK]", "水"], return_tensors=None
    )
    for ids, labels, text, target in zip(
        made["input_ids"],
        made["labels"],
        ["The river", "水"],
        ["It rises. [MASK]", "水"],
        strict=True,
    ):
        answer = tokenizer.encode(target)
        context = encode_source(tokenizer, summary_source(text, "en"), 512).ids
        assert ids[-len(context) - 1 - len(answer) :] == [*context, tokenizer.sop_id, *answer]
        start = len(ids) - len(answer) - 1
        assert labels == [-100] * start + [*answer, tokenizer.eop_id]


def test_inputs_that_will_not_do_are_value_errors(found: MGLMTokenizer, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="has {mask} once"):
        found.build_inputs_for_generation("x", "{text}")
    with pytest.raises(ValueError, match="names 'question'"):
        found.build_inputs_for_generation("x", "{question} {mask}")
    with pytest.raises(ValueError, match=r"mask '\[CLS\]'"):
        found.build_inputs_for_generation("x", mask="[CLS]")
    with pytest.raises(ValueError, match="1 texts, 2 targets"):
        found.build_inputs_for_generation("x", targets=["a", "b"])
    with pytest.raises(ValueError, match=r"a prompt of \d+ tokens; at most 4 fit"):
        found.build_inputs_for_generation("x", max_tokens=4)
    with pytest.raises(MGLMError, match=r"a prompt of \d+ tokens"):
        encode_source(tokenizer, summary_source("x", "en"), 4)


@pytest.mark.skipif(not WEB_SAMPLE.exists(), reason="the web sample lies outside the project")
def test_real_web_text_has_the_same_ids(found: MGLMTokenizer, tokenizer: Tokenizer) -> None:
    """On a part of it; drills/tokenizer_hf.py takes all."""
    with gzip.open(WEB_SAMPLE, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in itertools.islice(file, 0, None, 60)]
    assert found(texts).input_ids == tokenizer.encode_batch(texts)
