import subprocess
import sys
from pathlib import Path

import pytest

from core.detector import LanguageDetector
from core.errors import MGLMError
from core.fasttext_training import train_classifier

LINES = [
    f"__label__{lang} {text} {number}"
    for number in range(40)
    for lang, text in (("en", "hello there"), ("de", "guten Tag"))
]
OPTIONS = {"dim": 4, "epoch": 2, "bucket": 5_000, "minn": 1, "maxn": 3}

SPOILED = """
import ctypes, runpy, sys
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(2):  # the first makes glibc keep such sizes on the heap, the second leaves NaN there
    block = libc.malloc(31 << 20)
    ctypes.memset(block, 0x7F, 31 << 20)
    above = libc.malloc(100)
    libc.free(block)
from core.fasttext_training import _train
sys.exit(_train(sys.argv[1], sys.argv[2], eval(sys.argv[3]), None) or None)
"""


def test_the_same_lines_make_the_same_model_whatever_memory_held_before(tmp_path: Path) -> None:
    for name in "ab":
        train_classifier(LINES, tmp_path / name, training=OPTIONS, quantisation={"qnorm": True})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    source = tmp_path / "lines.txt"
    source.write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    train_classifier(LINES, tmp_path / "clean", training=OPTIONS)
    done = subprocess.run(
        [sys.executable, "-c", SPOILED, str(source), str(tmp_path / "spoiled"), repr(OPTIONS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "spoiled").read_bytes() == (tmp_path / "clean").read_bytes()


def test_a_model_comes_out_that_tells_its_labels_apart(tmp_path: Path) -> None:
    train_classifier(LINES, tmp_path / "model.bin", training=OPTIONS | {"epoch": 20, "lr": 1.0})
    detector = LanguageDetector(tmp_path / "model.bin", minimum_letters=1)
    assert [detector.detect(text).lang for text in ("hello there", "guten Tag")] == ["en", "de"]


def test_what_fasttext_complains_of_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="training with fastText; found .*Empty vocabulary"):
        train_classifier([], tmp_path / "model.bin", training=OPTIONS)
    assert not (tmp_path / "model.bin").exists()
