"""Keys by which documents that are nearly the same are found, from the MinHash of each.

A text is the set of its runs of five words, in lower case and without punctuation; in scripts without spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every character is a word. Its MinHash is cut into b bands of r
values, and a band is hashed to a key. Two texts of Jaccard similarity s have a key in common with a probability of
1 − (1 − s^r)^b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4), and whoever has a key in
common counts as nearly the same. There is no second look at pairs: it would have to compare all of a bucket, or else
what goes would depend on which documents came when. Pure; Spark is in near_duplicates_job.py.

The MinHash is datasketch's, value by value: its permutations, taken of many texts at once, which its class cannot.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from core.word_runs import Counts, Hashes, blocks, hashed_words, mix, runs_of
from corpus.near_duplicates_config import NearDuplicatesConfig

_SEED = 1


def packed_keys(texts: Sequence[str], config: NearDuplicatesConfig) -> list[bytes | None]:
    """Of each text its `config.bands` keys as a table keeps them, 8 bytes each; None for one without words."""
    packed: list[bytes | None] = []
    for block in blocks(texts):
        hashes, counts = shingles(block, config.words)
        found = iter(band_keys(signatures(hashes, counts[counts > 0], config), config).astype("<u8"))
        packed += [next(found).tobytes() if count else None for count in counts.tolist()]
    return packed


def shingles(texts: Sequence[str], words: int) -> tuple[Hashes, Counts]:
    """64-bit hashes of the runs of `words` words, with repetitions, text after text; and how many each text has: of a
    shorter text one, none without a word."""
    hashed, counts = hashed_words(texts)
    if (short := (counts > 0) & (counts < words)).any():
        ends = np.cumsum(counts)[short]
        hashed = np.insert(hashed, np.repeat(ends, words - counts[short]), np.uint64(0))
        counts = np.where(short, words, counts)
    return runs_of(hashed, counts, words)


def signatures(hashes: Hashes, counts: Counts, config: NearDuplicatesConfig) -> NDArray[np.uint32]:
    """The MinHash [N, bands × rows] of N sets of `counts` hashes each, none empty: that of equal sets is equal, and
    each value with probability s."""
    of_run = _fmix((hashes >> np.uint64(32)).astype(np.uint32))
    starts = np.cumsum(counts) - counts
    factors, summands = _permutations(config.bands * config.rows)
    values_KN = np.empty((len(factors), len(counts)), np.uint32)
    permuted = np.empty_like(of_run)
    for values_N, factor, summand in zip(values_KN, factors, summands, strict=True) if len(counts) else ():
        np.multiply(of_run, factor, out=permuted)
        np.add(permuted, summand, out=permuted)
        np.minimum.reduceat(permuted, starts, out=values_N)
    return np.ascontiguousarray(values_KN.T)


def band_keys(signatures_NK: NDArray[np.uint32], config: NearDuplicatesConfig) -> Hashes:
    """Keys [N, bands] of N signatures."""
    bands_NBR = signatures_NK.reshape(-1, config.bands, config.rows).astype(np.uint64)
    keys_NB = np.broadcast_to(np.arange(config.bands, dtype=np.uint64), bands_NBR.shape[:2])
    for row in range(config.rows):
        keys_NB = mix(keys_NB + bands_NBR[:, :, row])
    return keys_NB


def keys_of_languages(packed: Sequence[bytes], langs: Sequence[str]) -> NDArray[np.int64]:
    """Keys [N, bands] of N documents, made different for each language."""
    keys_NB = np.frombuffer(b"".join(packed), np.dtype("<u8")).astype(np.uint64).reshape(len(packed), -1)
    salts_N = np.array([int.from_bytes(lang.encode()[:8], "little") for lang in langs], np.uint64)
    return mix(keys_NB + mix(salts_N)[:, None]).view(np.int64)


def _fmix(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finaliser, which datasketch puts before its permutations."""
    values = values ^ (values >> np.uint32(16))
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


@cache
def _permutations(count: int) -> NDArray[np.uint32]:
    """datasketch's [factors, summands], modulo 2³²."""
    found: NDArray[np.uint32] = MinHash(count, seed=_SEED, scheme="affine32").permutations
    return found
