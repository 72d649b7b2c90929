"""Another model of Hugging Face transformers (mT5, BLOOM, NLLB …) on our tasks: reads, writes and finds probable.

Sequence-to-sequence models get the source in the encoder. Models of one stack read it, a line break, and go on.
Translation models are told both languages by their tokens. Nothing in a directory is run unless that is asked for.

Shape suffixes: B row, S position, N positions with a target, V vocabulary.
"""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
from transformers.generation import LogitsProcessorList
from transformers.utils.logging import disable_progress_bar

from core.errors import MGLMError
from core.examples import Example
from core.log import get_logger
from model.hf.modeling_mglm import SpanNoRepeatNGram
from model.peer_directory import positions_of
from model.peer_text import PeerSource, PeerText
from model.precision import PRECISIONS, device_of

NO_LABEL = -100
DEFAULT_SOURCE = 1024  # tokens, of a model that says nothing of lengths
# Of a published generation config: tokens that a model begins with or never writes.
_KEPT = (
    "bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "suppress_tokens", "begin_suppress_tokens",
    "bad_words_ids",
)  # fmt: skip


class Peer:
    """A model with its tokenizer. Decoding is the task's: of the published settings, special tokens alone are kept."""

    def __init__(self, model: Any, tokenizer: Any, source_length: int | None = None) -> None:
        self.model = model.eval()
        self.causal = not model.config.is_encoder_decoder
        self.text = PeerText(tokenizer, causal=self.causal)
        published = model.generation_config
        ends = published.eos_token_id if published.eos_token_id is not None else tokenizer.eos_token_id
        if ends is None:
            raise MGLMError("the model", found="no end token", expected="eos_token_id in generation_config.json")
        self.end_ids: list[int] = list(ends) if isinstance(ends, list) else [ends]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else published.pad_token_id
        self.pad_id: int = self.end_ids[0] if pad is None else pad
        begin = published.decoder_start_token_id
        self._begin: int = published.bos_token_id if begin is None else begin
        self._forced: int | None = published.forced_bos_token_id
        if not self.causal and self._begin is None and not self.text.languages:
            expected = "decoder_start_token_id in generation_config.json"
            raise MGLMError("the model", found="no token that a decoder begins with", expected=expected)
        kept = {name: value for name in _KEPT if (value := getattr(published, name, None)) is not None}
        model.generation_config = GenerationConfig(pad_token_id=self.pad_id, eos_token_id=ends, **kept)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._source_length = source_length

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        trust_remote_code: bool = False,
        device: str | None = None,
        precision: str | None = None,
        source_length: int | None = None,
    ) -> Self:
        """The model of a local directory, on a device and in a precision as `model.precision.load_model` chooses.

        Raises:
            MGLMError: no model that writes, weights that are missing, or code in the directory that is not trusted.
        """
        where = device_of(device)
        precision = precision or ("fp32" if where.type == "cpu" else "bf16")
        disable_progress_bar()  # of transformers, which shows one for each file
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        try:
            config = AutoConfig.from_pretrained(directory, **local)
            named = config.architectures or []
            if any(name.endswith(("ForMaskedLM", "EncoderModel", "Classification")) for name in named):
                raise MGLMError(f"model {directory}", found=named[0], expected="a model that writes text")
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old files: nothing a user could act on
                model, loading = kind.from_pretrained(
                    directory, config=config, dtype=PRECISIONS[precision], output_loading_info=True, **local
                )
                tokenizer = AutoTokenizer.from_pretrained(directory, **local)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            code = "trust_remote_code" in str(error)
            action = "to run it, set trust_remote_code=true" if code else "check the directory"
            found = "code of its own, which is not run" if code else lines[0]
            raise MGLMError(f"model {directory}", found=found, action=action) from None
        if loading["missing_keys"]:
            found = f"no weights for {', '.join(sorted(loading['missing_keys'])[:3])}"
            raise MGLMError(f"model {directory}", found=found, expected="all weights of a model that writes text")
        made = cls(model.to(where), tokenizer, source_length)
        letter = made.encode("a")
        if not letter or tokenizer.unk_token_id in letter:  # transformers makes an empty one where files are missing
            expected = "tokenizer.json, or the file of pieces that its class reads"
            raise MGLMError(f"tokenizer {directory}", found="one that does not know the letter a", expected=expected)
        get_logger("model").info("%s: %s, %s on %s", directory.name, type(model).__name__, precision, where)
        return made

    def save(self, directory: Path) -> None:
        """Writes what `load` reads."""
        self.model.save_pretrained(directory, max_shard_size="2GB")
        self.text.tokenizer.save_pretrained(directory)

    @property
    def source_length(self) -> int:
        """The most tokens of a source unless told otherwise: what it was fine-tuned on, else what its files say."""
        if self._source_length is not None:
            return self._source_length
        said = [self.text.tokenizer.model_max_length, positions_of(self.model.config.to_dict())]
        found = [length for length in said if length is not None and length < 10**6]
        longest = min(found, default=DEFAULT_SOURCE)
        return max(1, longest // 2) if self.causal and found else longest  # one stack has room for the answer, too

    def sources(self, example: Example, most_tokens: int, stride: int | None) -> list[PeerSource]:
        """The example's source, in windows where a `stride` is given. Raises MGLMError as `PeerText`."""
        start = self.start(example.target_lang)
        if stride is None:
            rows = [self.text.source(example.source, example.lang, most_tokens)]
        else:
            rows = self.text.windows(example.source, example.lang, most_tokens, stride)
        return [PeerSource(ids, start) for ids in rows]

    def start(self, target_lang: str) -> tuple[int, ...]:
        """What a decoder begins with: its start token, then the target's language or another token it is forced to."""
        if self.causal:
            return ()
        if self.text.languages:
            token = self.text.languages.id(target_lang)
            # mBART of 25 languages begins with the language alone, and its sources end with theirs.
            return (token,) if type(self.text.tokenizer).__name__.startswith("MBartTok") else (self._begin, token)
        return (self._begin,) if self._forced is None else (self._begin, self._forced)

    def encode(self, text: str) -> list[int]:
        """The ids of an answer."""
        return self.text.encode(text)

    def decode(self, span: Sequence[int]) -> str:
        return self.text.decode(span)

    @torch.inference_mode()
    def generate(self, sources: Sequence[PeerSource], **generation: Any) -> list[list[int]]:
        """The ids that follow each source, without start and end tokens; `generation` is what `generate` takes.

        Repetition is banned within what is written, as of GLM: not of words that stand in the prompt.
        """
        ids_BS, mask_BS = self._padded([source.ids for source in sources], left=self.causal)
        more: dict[str, Any] = {}
        if self.causal:
            begun = ids_BS.shape[1]
            ngram = generation.pop("no_repeat_ngram_size", 0)
            more["logits_processor"] = LogitsProcessorList([SpanNoRepeatNGram(ngram, begun)] if ngram else [])
        else:
            more["decoder_input_ids"] = torch.tensor([source.start for source in sources], device=ids_BS.device)
            more["decoder_start_token_id"] = [source.start[0] for source in sources]
            begun = more["decoder_input_ids"].shape[1]
        output_BS = self.model.generate(
            input_ids=ids_BS, attention_mask=mask_BS, renormalize_logits=True, **more, **generation
        )
        return [self._ended(row) for row in output_BS[:, begun:].tolist()]

    @torch.inference_mode()
    def log_probs(self, sources: Sequence[PeerSource], spans: Sequence[list[int]], *, ended: bool) -> list[float]:
        """Σ log p of each answer's tokens after its source, in nats; with the end token where `ended`."""
        totals = []
        for source, span in zip(sources, spans, strict=True):
            wanted = [*span, self.end_ids[0]] if ended else list(span)
            if not wanted:
                raise ValueError("an answer without tokens has no probability")
            logits_NV, labels_N = self.logits([source], [wanted])
            totals.append(-float(F.cross_entropy(logits_NV, labels_N, reduction="sum").double()))
        return totals

    def logits(self, sources: Sequence[PeerSource], targets: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Logits [N, V] in fp32 that predict all tokens of the targets, row by row, and those tokens [N]."""
        more: dict[str, Any] = {}
        if self.causal:
            rows = [[*source.ids, *target[:-1]] for source, target in zip(sources, targets, strict=True)]
            given = [len(source.ids) - 1 for source in sources]
            ids_BS, mask_BS = self._padded(rows, left=False)
            if self._keeps_logits:  # none of what every row only reads
                more["logits_to_keep"] = ids_BS.shape[1] - min(given)
        else:
            ids_BS, mask_BS = self._padded([source.ids for source in sources], left=False)
            rows = [[*source.start, *target[:-1]] for source, target in zip(sources, targets, strict=True)]
            given = [len(source.start) - 1 for source in sources]
            more["decoder_input_ids"], more["decoder_attention_mask"] = self._padded(rows, left=False)
        logits_BSV = self.model(input_ids=ids_BS, attention_mask=mask_BS, use_cache=False, **more).logits
        length = max(map(len, rows))
        labels_BS = torch.full((len(rows), length), NO_LABEL)
        for row, (target, first) in enumerate(zip(targets, given, strict=True)):
            labels_BS[row, first : first + len(target)] = torch.tensor(target)
        labels_BS = labels_BS[:, length - logits_BSV.shape[1] :].to(logits_BSV.device)
        scored_BS = labels_BS != NO_LABEL
        return logits_BSV[scored_BS].float(), labels_BS[scored_BS]

    def _padded(self, rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        """Ids and attention mask [B, S]. A stack that writes is padded on the left, an encoder on the right: some have
        a table of positions that counts from the first column."""
        length = max(map(len, rows))
        ids_BS = torch.full((len(rows), length), self.pad_id)
        mask_BS = torch.zeros(len(rows), length, dtype=torch.long)
        for index, row in enumerate(rows):
            place = slice(length - len(row), length) if left else slice(0, len(row))
            ids_BS[index, place], mask_BS[index, place] = torch.tensor(row), 1
        return ids_BS.to(self.model.device), mask_BS.to(self.model.device)

    def _ended(self, row: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(row) if token in self.end_ids), len(row))
        return row[:end]
