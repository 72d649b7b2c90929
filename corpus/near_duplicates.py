"""Keys by which documents that are nearly the same are found, from the MinHash of each.

A text is the set of its runs of five words, in lower case and without punctuation; in scripts without spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every character is a word. Its MinHash (datasketch) is cut into b
bands of r values, and a band is hashed to a key. Two texts of Jaccard similarity s have a key in common with a
probability of 1 − (1 − s^r)^b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4), and whoever
has a key in common counts as nearly the same. There is no second look at pairs: it would have to compare all of a
bucket, or else what goes would depend on which documents came when. Pure; Spark is in near_duplicates_job.py.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from core.word_runs import Hashes, hashed_words, mix, runs_of
from corpus.near_duplicates_config import NearDuplicatesConfig

HASHES_AT_ONCE = 4_096  # a chunk's table of hashes × permutations stays in the processor's cache
_SEED = 1


def shingles(text: str, words: int) -> Hashes:
    """64-bit hashes of the runs of `words` words, with repetitions; of a shorter text one; none without a word."""
    hashed = hashed_words(text)
    if 0 < hashed.size < words:
        hashed = np.concatenate([hashed, np.zeros(words - hashed.size, np.uint64)])
    return runs_of(hashed, words)


def band_keys(text: str, config: NearDuplicatesConfig) -> Hashes | None:
    """`config.bands` keys of a text; None for one without words."""
    values = signature(text, config)
    if values is None:
        return None
    bands_BR = values.reshape(config.bands, config.rows).astype(np.uint64)
    keys_B = np.arange(config.bands, dtype=np.uint64)
    for row in range(config.rows):
        keys_B = mix(keys_B + bands_BR[:, row])
    return keys_B


def packed_keys(text: str, config: NearDuplicatesConfig) -> bytes | None:
    """`band_keys` as a table keeps them, 8 bytes each."""
    keys = band_keys(text, config)
    return None if keys is None else keys.astype("<u8").tobytes()


def keys_of_languages(packed: Sequence[bytes], langs: Sequence[str]) -> NDArray[np.int64]:
    """Keys [N, bands] of N documents, made different for each language."""
    keys_NB = np.frombuffer(b"".join(packed), np.dtype("<u8")).astype(np.uint64).reshape(len(packed), -1)
    salts_N = np.array([int.from_bytes(lang.encode()[:8], "little") for lang in langs], np.uint64)
    return mix(keys_NB + mix(salts_N)[:, None]).view(np.int64)


def signature(text: str, config: NearDuplicatesConfig) -> NDArray[np.uint32] | None:
    """The MinHash of a text, bands × rows values: that of equal sets is equal, and each value with probability s."""
    hashes = (shingles(text, config.words) >> np.uint64(32)).astype(np.uint32)
    if not hashes.size:
        return None
    count = config.bands * config.rows
    sketch = MinHash(count, seed=_SEED, scheme="affine32", permutations=_permutations(count), hashfunc=_as_it_is)
    for start in range(0, hashes.size, HASHES_AT_ONCE):
        sketch.update_batch(hashes[start : start + HASHES_AT_ONCE])
    values: NDArray[np.uint32] = sketch.hashvalues
    return values


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _permutations(count: int) -> Any:
    return MinHash(count, seed=_SEED, scheme="affine32").permutations
