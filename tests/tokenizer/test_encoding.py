from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tokenizer.encoding import COMMANDS, Tokenizer, normalised

ANY_TEXT = st.text(st.characters())  # lone surrogates among them
LOOK_ALIKES = [
    *COMMANDS,
    "[mask]",
    "<0x41>",
    "<0x0A>",
    "<unk>",
    "<s>",
    "</s>",
    "▁",
    "[MASK",
    "<|",
    "\ufffd",
    " ⁇ ",
    "▅",
    "▁▁▁▁",
    "[sMASK",
    "MASK]",
    "｟MASK｠",
    "［MASK］",
    "[M\u200bASK]",
    "[МASK]",  # its first letter is Cyrillic
    "<|endof",
    "text|>",
    "<｜endoftext｜>",
    "<extra_id_0>",
    "\x00",
    "\ud83d",
]
# Function-scoped state is none: the tokenizer is read-only.
quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(text=ANY_TEXT)
def test_decoding_gives_the_normalised_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == normalised(text)


@quick
@given(parts=st.lists(st.sampled_from([*LOOK_ALIKES, " ", "\n", "a", "水"]) | ANY_TEXT, max_size=8))
def test_no_text_ever_becomes_a_command(tokenizer: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    ids = tokenizer.encode(text)
    assert all(0 < index < tokenizer.pieces for index in ids)  # nor is anything unknown
    assert tokenizer.decode(ids) == normalised(text) == tokenizer.normalised(text)
    # What shards are made of.
    array = tokenizer.encode_arrays([normalised(text).encode()])[0]
    assert array.tolist() == ids


@quick
@given(text=ANY_TEXT)
def test_the_pieces_stand_for_all_bytes_of_the_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.byte_length(ids) == len(normalised(text).encode())
    assert tokenizer.byte_length(np.array([tokenizer.cls_id, *ids, tokenizer.eos_id], np.int32)) == (
        tokenizer.byte_length(ids)
    )


def test_real_text_of_every_script_survives_unchanged(tokenizer: Tokenizer, real_sentences: list[str]) -> None:
    text = "  " + "\n\n ".join(real_sentences) + "\t\r\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_texts_join_as_their_ids_join(tokenizer: Tokenizer) -> None:
    left, right = "The river rises", " in spring.\n"
    assert tokenizer.decode(tokenizer.encode(left) + tokenizer.encode(right)) == left + right


def test_a_newline_is_a_piece_of_its_own_and_so_is_a_digit(tokenizer: Tokenizer) -> None:
    newline = tokenizer.encode("\n")
    assert len(newline) == 1
    assert tokenizer.encode("\n\n\n") == newline * 3
    assert len(tokenizer.encode("2024")) >= 4
    assert {tokenizer.piece_text(index) for index in tokenizer.encode("20.24")} >= {"2", "0", "4"}


def test_indentation_is_few_pieces(tokenizer: Tokenizer) -> None:
    assert sorted(tokenizer.encode(" " * 28)) == sorted(tokenizer.encode(" " * length)[0] for length in (4, 8, 16))
    assert tokenizer.decode(tokenizer.encode("    return x\n\n\t  y")) == "    return x\n\n\t  y"


def test_commands_follow_the_pieces_and_the_vocabulary_is_padded(tokenizer: Tokenizer) -> None:
    size = tokenizer.pieces
    assert (tokenizer.eos_id, tokenizer.pad_id, tokenizer.cls_id, tokenizer.mask_id) == (size, size, size + 2, size + 3)
    assert (tokenizer.sop_id, tokenizer.eop_id, tokenizer.smask_id, tokenizer.gmask_id) == tuple(
        range(size + 6, size + 10)
    )
    assert tokenizer.command_id("[dBLOCK]") == size + 10
    assert tokenizer.vocab_size % 128 == 0
    assert size + 11 <= tokenizer.vocab_size < size + 11 + 128


def test_decoding_skips_commands_and_padding(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("水")
    assert tokenizer.decode([tokenizer.cls_id, *ids, tokenizer.smask_id, tokenizer.vocab_size - 1, *ids]) == "水水"


def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer, real_sentences: list[str]) -> None:
    texts = [*real_sentences, "", "\ud800"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_saving_and_loading_changes_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "copy")
    assert Tokenizer.load(tmp_path / "copy").sha256 == tokenizer.sha256


def test_a_missing_or_broken_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="mglm tokenizer train first"):
        Tokenizer.load(tmp_path)
    for content in (b"", b"not a model"):
        (tmp_path / "tokenizer.model").write_bytes(content)
        with pytest.raises(MGLMError, match="expected a SentencePiece model"):
            Tokenizer.load(tmp_path)


def test_an_unknown_command_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(MGLMError, match=r"\[BLANK\]"):
        tokenizer.command_id("[BLANK]")
