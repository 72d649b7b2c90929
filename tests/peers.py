"""Tiny models of other families with random weights, each with a small tokenizer of its own kind, as directories."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers, trainers

WIDTH = 32


def mt5(directory: Path, texts: Sequence[str]) -> Path:
    """Unigram pieces with T5's sentinels; relative positions."""
    pieces = _sentencepiece(texts)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, pieces.get_piece_size())]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=4)
    config = transformers.MT5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=0.0,
    )  # fmt: skip
    return _saved(directory, transformers.MT5ForConditionalGeneration(config), tokenizer)


def bloom(directory: Path, texts: Sequence[str]) -> Path:
    """Byte-level BPE; ALiBi; no token before a text."""
    tokenizer = _byte_level(texts, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    config = transformers.BloomConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, n_layer=2, n_head=4, hidden_dropout=0.0, attention_dropout=0.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return _saved(directory, transformers.BloomForCausalLM(config), tokenizer)


def gpt2(directory: Path, texts: Sequence[str]) -> Path:
    """A table of positions, and no token for padding."""
    tokenizer = _byte_level(texts, eos_token="<|endoftext|>")
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=WIDTH, n_layer=2, n_head=4, n_positions=128, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _saved(directory, transformers.GPT2LMHeadModel(config), tokenizer)


def nllb(directory: Path, texts: Sequence[str]) -> Path:
    """M2M-100's architecture with NLLB's tokenizer, whose languages are named as in FLORES."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    model.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=300, special_tokens=special))
    learnt = json.loads(model.to_str())["model"]
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = transformers.NllbTokenizer(vocab=learnt["vocab"], merges=merges)
    return _saved(directory, transformers.M2M100ForConditionalGeneration(_m2m_config(tokenizer)), tokenizer)


def m2m100(directory: Path, texts: Sequence[str]) -> Path:
    """M2M-100 with its own tokenizer, in Python and with languages by two letters."""
    directory.mkdir(parents=True)
    _sentencepiece(texts, directory / "sp.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(directory / "sp.model"))
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    names += [pieces.id_to_piece(i) for i in range(pieces.get_piece_size()) if pieces.id_to_piece(i) not in names]
    (directory / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}), "utf-8")
    tokenizer = transformers.M2M100Tokenizer(str(directory / "vocab.json"), str(directory / "sp.model"))
    return _saved(directory, transformers.M2M100ForConditionalGeneration(_m2m_config(tokenizer)), tokenizer)


PEERS = {"mt5": mt5, "bloom": bloom, "gpt2": gpt2, "nllb": nllb, "m2m100": m2m100}


def _m2m_config(tokenizer: Any) -> Any:
    highest = max(tokenizer.get_vocab().values()) + 1
    return transformers.M2M100Config(
        vocab_size=max(highest, len(tokenizer)) + 110, d_model=WIDTH, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.0,
        attention_dropout=0.0, activation_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0,
        max_position_embeddings=128, decoder_start_token_id=2, init_std=0.1,
    )  # fmt: skip


def _sentencepiece(texts: Sequence[str], path: Path | None = None) -> Any:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(texts) * 3), model_writer=made, vocab_size=200, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    if path is not None:
        path.write_bytes(made.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


def _byte_level(texts: Sequence[str], **special: str) -> Any:
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(special.values()), initial_alphabet=alphabet)
    model.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, **special)


def _saved(directory: Path, model: Any, tokenizer: Any) -> Path:
    torch.manual_seed(0)
    model.init_weights()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
