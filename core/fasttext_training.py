"""Training a fastText classifier so that the same lines give the same model, byte for byte.

In: lines as fastText reads them, `__label__NAME text`. Out: a model file, quantised if asked.
"""

import ctypes
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.errors import MGLMError
from core.fasttext_model import import_fasttext

_M_PERTURB = -6  # glibc's malloc.h: fill new memory with the complement of a byte


def train_classifier(
    lines: Sequence[str],
    target: Path,
    *,
    training: Mapping[str, Any],
    quantisation: Mapping[str, Any] | None = None,
) -> None:
    """Writes the model that `train_supervised(**training)` of fastText learns from `lines`, `quantize`d if asked.

    It runs in one thread, for with more the order of updates and so the model is another each time; and in a process of
    its own, which ends at once when this one is interrupted.

    Raises:
        MGLMError: fastText cannot learn from these lines, and says why.
    """
    import_fasttext()
    with TemporaryDirectory(prefix="mglm-fasttext-") as folder:
        source = Path(folder) / "lines.txt"
        with source.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            said = pool.apply(_train, (str(source), str(target), dict(training), quantisation and dict(quantisation)))
    if said:
        raise MGLMError(
            "training with fastText",
            found=said,
            expected="labelled lines and weights that stay finite",
            action="lower the learning rate, or use more text",
        )


def _train(source: str, target: str, training: dict[str, Any], quantisation: dict[str, Any] | None) -> str:
    """Returns what fastText complains of, or nothing."""
    # In one thread fastText 0.9 sets only the first tenth of its input matrix and leaves the rest as malloc gives it,
    # which may be what was there before, NaN at times. So malloc has to give zeros.
    ctypes.CDLL(None).mallopt(_M_PERTURB, 0xFF)
    watched = 2 if sys.stderr.isatty() else 0  # fastText rewrites one line in place: share done, loss, time left
    try:
        model = import_fasttext().train_supervised(input=source, thread=1, verbose=watched, **training)
        if quantisation is not None:
            model.quantize(input=source, thread=1, **quantisation)
        model.save_model(target)
    except (RuntimeError, ValueError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""
