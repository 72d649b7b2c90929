"""Articles of 1,000 to 100,000 words in several scripts, each in a process of its own: time, rounds, peak memory.

    python -m drills.long_articles [--model DIR] [--words 1000,10000,100000] [--max-new-tokens 32]

Without --model, one of random weights and 2 layers that reads 512 tokens. The peak of the longest article may be above
that of the shortest by the text's own size and ids, LIMIT_BYTES a word; everything beyond fails.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A sentence of about ten words in each script; Chinese and Thai space none.
SENTENCES = {
    "en": (" The river rose again and both bridges of the town held.", 11),
    "hi": (" नदी फिर चढ़ी और शहर के दोनों पुल टिके रहे।", 10),
    "ar": (" ارتفع النهر مرة أخرى وصمد جسرا المدينة القديمة كلاهما.", 9),
    "zh": ("河水再次上涨，老城的两座桥都很牢固。", 10),
    "th": ("แม่น้ำขึ้นอีกครั้งและสะพานทั้งสองของเมืองเก่ายังรับไหว ", 12),
}
LIMIT_BYTES = 2_000  # a word: its text, its ids as Python integers, a row of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--words", default="1000,10000,100000")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--one", help="for itself: one article, as LANGUAGE:WORDS")
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.model, *arguments.one.split(":"), arguments.max_new_tokens)
        return
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        model = arguments.model or make_model(Path(folder) / "model")
        sizes = [int(words) for words in arguments.words.split(",")]
        failed = [lang for lang in SENTENCES if not flat(model, lang, sizes, arguments.max_new_tokens)]
    if failed:
        sys.exit(f"memory grows with the article in {', '.join(failed)}")


def flat(model: Path, lang: str, sizes: list[int], most: int) -> bool:
    """Runs all sizes; whether the peak grew by no more than the text itself accounts for."""
    peaks = {}
    for words in sizes:
        command = [sys.executable, "-m", "drills.long_articles", "--model", str(model), "--one", f"{lang}:{words}"]
        made = subprocess.run([*command, "--max-new-tokens", str(most)], check=True, capture_output=True, text=True)
        told = json.loads(made.stdout.splitlines()[-1])
        peaks[words] = told["peak_bytes"]
        print(
            f"{lang} {words:>7,} words {told['tokens']:>8,} tokens: {told['passages']:>5} passages, "
            f"{told['rounds']} rounds, {told['read_share']:.0%} read, {told['seconds']:.1f} s, "
            f"peak {told['peak_bytes'] / 2**20:.0f} MiB",
            flush=True,
        )
        assert told["read_share"] == 1, told
    growth = peaks[max(sizes)] - peaks[min(sizes)]
    return growth < (max(sizes) - min(sizes)) * LIMIT_BYTES


def one(model: Path, lang: str, words: str, most: int) -> None:
    """One article; a line of JSON on what became of it."""
    from model.summarizer import Summarizer, SummaryRequest

    sentence, of_words = SENTENCES[lang]
    text = sentence * (int(words) // of_words)
    summarizer = Summarizer.from_pretrained(model, device="cpu")
    started = time.perf_counter()
    settings = {"num_beams": 1, "max_new_tokens": most}
    (summary,) = summarizer.summarize_batch([SummaryRequest(text, "en", settings)])
    seconds = time.perf_counter() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tokens = len(summarizer.tokenizer.encode(text))
    told = {"tokens": tokens, "passages": summary.passages, "rounds": summary.rounds, "read_share": summary.read_share}
    print(json.dumps({**told, "seconds": round(seconds, 2), "peak_bytes": peak_bytes}))


def make_model(directory: Path) -> Path:
    """An export of random weights, with a vocabulary of the sentences above."""
    import io

    import sentencepiece
    import torch

    from core.stage import open_stage
    from model.config import ModelConfig
    from model.convert import HF
    from model.export import hf_config, write_export
    from model.hf.modeling_mglm import GLMForConditionalGeneration
    from model.readers import LoadedModel
    from tokenizer.encoding import Tokenizer

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([sentence for sentence, _ in SENTENCES.values()] * 20), model_writer=file,
        vocab_size=500, byte_fallback=True, hard_vocab_limit=False, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    tokenizer = Tokenizer(file.getvalue())
    shape = ModelConfig(num_layers=2, hidden_size=64, num_attention_heads=4, max_positions=513, init_std=0.2)
    torch.manual_seed(1)
    twin = GLMForConditionalGeneration(
        hf_config(LoadedModel({}, shape, tokenizer.vocab_size, tokenizer, 512, "Random."))
    )
    weights = {name: weight for name, weight in twin.state_dict().items() if name != "lm_head.weight"}
    stage = open_stage(directory, schema=HF, config={}, inputs={})
    write_export(directory, LoadedModel(weights, shape, tokenizer.vocab_size, tokenizer, 512, "Random.", 128))
    stage.finish()
    return directory


if __name__ == "__main__":
    main()
