import json
import os
import subprocess
import sys
from pathlib import Path

from tokenizer.encoding import COMMANDS, Tokenizer
from tokenizer.hf import tokenization_mglm
from tokenizer.inputs import encode_source
from tokenizer.prompts import summary_source

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
