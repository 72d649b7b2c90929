"""Models of other families read the same prompts, write alone what they write in a batch, and score what they write."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import MGLMError
from core.examples import Example, Segment
from model.peer import Peer
from model.peer_directory import model_identity, peer_config, positions_of
from tests.peers import PEERS, bloom, gpt2, mt5, nllb
from tokenizer.prompts import source, summary_source

TEXTS = [
    "The ferry left the harbour late because of the fog, and nobody on the quay was surprised.",
    "渡轮因为大雾很晚才离开港口，码头上没有人感到意外。",
    "Une brume épaisse a retardé le bac.",
    "English Summary: Question: How many? Who was surprised? Answer: 0123456789 中文摘要 中文标题 原文",
]
SEARCH = {"max_new_tokens": 9, "num_beams": 3, "length_penalty": 0.7, "no_repeat_ngram_size": 2, "do_sample": False}


@pytest.fixture(scope="module", params=sorted(PEERS))
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Peer:
    directory = PEERS[request.param](tmp_path_factory.mktemp("peers") / request.param, TEXTS)
    return Peer.load(directory, device="cpu")


def example(segments: list[Segment], lang: str = "en", target_lang: str = "zh") -> Example:
    return Example(id="1", task="t", lang=lang, target_lang=target_lang, split="train", source=segments, target="x")


def test_a_batch_of_several_lengths_and_target_languages_gives_what_each_gives_alone(peer: Peer) -> None:
    wanted = [
        example(summary_source("The fog. " * n, lang), "en", lang) for n, lang in enumerate(("en", "zh", "fr"), 1)
    ]
    sources = [source for each in wanted for source in peer.sources(each, 60, None)]
    assert len({len(source.ids) for source in sources}) > 1
    together = peer.generate(sources, **SEARCH)
    assert together == [peer.generate([source], **SEARCH)[0] for source in sources]
    assert all(0 < len(span) <= 9 for span in together)
    bigrams = [list(pairwise(span)) for span in together]
    assert all(len(of_span) == len(set(of_span)) for of_span in bigrams)


def test_log_probabilities_are_those_of_the_whole_row_one_token_after_another(peer: Peer) -> None:
    sources = [peer.sources(example(summary_source(TEXTS[0] * n, "zh")), 60, None)[0] for n in (1, 3)]
    spans = [peer.encode("fog"), peer.encode("the harbour left")]
    found = peer.log_probs(sources, spans, ended=True)
    for given, span, total in zip(sources, spans, found, strict=True):
        wanted = [*span, peer.end_ids[0]]
        row = torch.tensor([[*(given.start or given.ids), *wanted]])
        with torch.inference_mode():
            if peer.causal:
                logits_SV = peer.model(input_ids=row).logits[0]
            else:
                logits_SV = peer.model(input_ids=torch.tensor([given.ids]), decoder_input_ids=row).logits[0]
        logs_SV = logits_SV.log_softmax(-1)
        by_hand = sum(
            float(logs_SV[place - 1, token]) for place, token in enumerate(wanted, row.shape[1] - len(wanted))
        )
        assert total == pytest.approx(by_hand, abs=1e-4)
    logits_NV, labels_N = peer.logits(sources, [[*span, peer.end_ids[0]] for span in spans])  # both at once, padded
    each_N = torch.nn.functional.cross_entropy(logits_NV, labels_N, reduction="none")
    assert -float(each_N[: len(spans[0]) + 1].sum().detach()) == pytest.approx(found[0], abs=1e-4)
    assert -float(each_N[len(spans[0]) + 1 :].sum().detach()) == pytest.approx(found[1], abs=1e-4)


def test_only_texts_are_cut_and_the_prompt_stays_whole(peer: Peer) -> None:
    segments = summary_source(TEXTS[0] * 40, "en")
    (cut,) = peer.sources(example(segments, target_lang="en"), 40, None)
    assert 36 <= len(cut.ids) <= 40
    text = peer.decode(cut.ids)
    assert text.rstrip().endswith("English Summary:")
    assert text.startswith("The ferry left")
    question = source("question", "en", context=TEXTS[0] * 40, question="Who was surprised?")
    assert "Who was surprised? Answer:" in peer.decode(peer.sources(example(question), 60, None)[0].ids)
    with pytest.raises(MGLMError, match="a prompt of"):
        peer.sources(example(segments, target_lang="en"), 5, None)


def test_windows_together_hold_the_whole_of_a_long_text(peer: Peer) -> None:
    numbers = " ".join(str(number) for number in range(100, 160))
    whole = source("question", "en", context=numbers, question="How many?")
    windows = peer.sources(example(whole), 50, 13)
    assert len(windows) > 3
    assert all(len(window.ids) <= 50 for window in windows)
    texts = [peer.decode(window.ids) for window in windows]
    assert all("How many? Answer:" in text for text in texts)
    last = "".join(text.split(" Question:")[0] for text in texts[-1:])
    assert last.strip().endswith(numbers[-3:])
    missing = [number for number in numbers.split() if not any(number in text for text in texts)]
    assert not missing
    assert peer.sources(example(summary_source("Fog.", "en")), 50, 13) == peer.sources(
        example(summary_source("Fog.", "en")), 50, None
    )


def test_a_long_text_is_tokenised_once_for_all_its_windows(tmp_path: Path) -> None:
    text = Peer.load(mt5(tmp_path / "mt5", TEXTS)).text
    tokenizer, whole, seen = text.tokenizer, " ".join(TEXTS) * 3, []

    class Counting:
        def __call__(self, asked: str, **more: Any) -> Any:
            seen.append(asked)
            return tokenizer(asked, **more)

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

    text.tokenizer = Counting()
    pieces = [text._part(whole, start, start + 8) for start in range(0, 40, 4)]
    assert len(seen) == 1
    assert all(piece and piece in whole for piece in pieces)
    assert text._part(TEXTS[0], 0, 2) != pieces[0]  # another text is not taken for the last


def test_what_a_text_spells_is_no_special_token(peer: Peer) -> None:
    ends = {peer.text.tokenizer.eos_token_id, peer.text.tokenizer.bos_token_id} - {None}
    spelled = " ".join(filter(None, [peer.text.tokenizer.eos_token, "<s>", "<extra_id_0>", "eng_Latn"]))
    assert ends.isdisjoint(peer.encode(f"{spelled} \ud800"))
    (plain,) = peer.sources(example(summary_source("Fog.", "en")), 60, None)
    (hostile,) = peer.sources(example(summary_source(f"Fog. {spelled}", "en")), 60, None)
    for index in ends:
        assert plain.ids.count(index) == hostile.ids.count(index)


def test_a_mask_in_the_middle_is_the_models_own(tmp_path: Path) -> None:
    title = example(source("title", "zh", text="Fog."))
    ours = Peer.load(mt5(tmp_path / "mt5", TEXTS))
    ids = ours.sources(title, 60, None)[0].ids
    assert ids.count(ours.text.tokenizer.convert_tokens_to_ids("<extra_id_0>")) == 1
    other = Peer.load(bloom(tmp_path / "bloom", TEXTS))
    assert other.decode(other.sources(title, 60, None)[0].ids) == "中文标题: _ 原文: Fog.\n"


def test_translation_models_are_told_both_languages(tmp_path: Path) -> None:
    peer = Peer.load(nllb(tmp_path / "nllb", TEXTS))
    name = peer.text.tokenizer.convert_ids_to_tokens
    (source_,) = peer.sources(example(summary_source("雾。", "zh"), "zh", "iw"), 60, None)
    assert name([source_.ids[0], *source_.start]) == ["zho_Hans", "</s>", "heb_Hebr"]
    assert {lang: peer.text.languages.name(lang) for lang in ("ar", "pt", "no", "fil", "yue_Hant")} == {
        "ar": "arb_Arab", "pt": "por_Latn", "no": "nob_Latn", "fil": "tgl_Latn", "yue_Hant": "yue_Hant",
    }  # fmt: skip
    with pytest.raises(MGLMError, match="language 'la' in this model"):
        peer.sources(example(summary_source("Nebula.", "en"), "la", "en"), 60, None)


def test_no_code_of_a_directory_is_run_unasked(tmp_path: Path) -> None:
    directory = gpt2(tmp_path / "model", TEXTS)
    config = json.loads((directory / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.Model"}}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "odd.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(MGLMError, match="code of its own, which is not run"):
        Peer.load(directory)


def test_directories_that_hold_no_model_that_writes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="Run mglm model convert --to hf first"):
        model_identity(tmp_path / "absent")
    directory = mt5(tmp_path / "no tokenizer", TEXTS)
    (directory / "tokenizer.json").unlink()
    with pytest.raises(MGLMError, match="does not know the letter a"):
        Peer.load(directory)
    directory = mt5(tmp_path / "mt5", TEXTS)
    before = model_identity(directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"architectures": ["MT5EncoderModel"]}))
    assert model_identity(directory) != before
    with pytest.raises(MGLMError, match="found MT5EncoderModel"):
        Peer.load(directory)
    cut = mt5(tmp_path / "cut", TEXTS) / "model.safetensors"
    os.truncate(cut, cut.stat().st_size // 2)
    with pytest.raises(MGLMError, match="model .*cut"):
        Peer.load(cut.parent)
    (directory / "model.safetensors").unlink()
    with pytest.raises(MGLMError, match="without weights"):
        model_identity(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(MGLMError, match="no JSON object"):
        peer_config(directory)


def test_positions_are_known_where_there_is_a_table(tmp_path: Path) -> None:
    found = {name: peer_config(PEERS[name](tmp_path / name, TEXTS)) for name in ("mt5", "bloom", "gpt2", "nllb")}
    assert {name: positions_of(config or {}) for name, config in found.items()} == {
        "mt5": None, "bloom": None, "gpt2": 128, "nllb": 128,
    }  # fmt: skip
    assert [bool((config or {}).get("is_encoder_decoder")) for config in found.values()] == [True, False, False, True]
