"""What writes predictions: an exported model behind the Summarizer, decoding as [eval] says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.examples import Segment
from eval.config import EvalConfig
from eval.predict import Writer
from model.summarizer import Summarizer
from tokenizer.inputs import encode_source


def load_writer(directory: Path, config: EvalConfig) -> Writer:
    """Loads the model; the result takes the sources of a batch and gives the text written for each."""
    summarizer = Summarizer.from_pretrained(directory)
    source_tokens = config.max_source_tokens or int(summarizer.model.config.source_length)
    generation: dict[str, Any] = {
        "max_new_tokens": config.max_new_tokens,
        "num_beams": config.num_beams,
        "no_repeat_ngram_size": config.no_repeat_ngram_size,
        "length_penalty": config.length_penalty if config.num_beams > 1 else 1.0,  # greedy search has none
        "do_sample": False,
    }

    def write(sources: Sequence[Sequence[Segment]]) -> list[str]:
        ids = [encode_source(summarizer.tokenizer, source, source_tokens).ids for source in sources]
        return summarizer.generate_text(ids, **generation)

    return write
