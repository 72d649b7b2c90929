"""The identity of a document: its 128-bit hash, the number drawn from it, and its split.

Everything random about a document (its split, its place in a shard, whether a sample takes it) comes from this hash, so
it does not depend on partitions, machines or the order of input.
"""

import hashlib

# doc_id: hex of 128 bits. blake2b because it is fast in every Python and has a personalisation parameter.
DOC_ID_BYTES = 16
HELDOUT_MINIMUM_DOCUMENTS = 20


def document_id(normalised_text: str) -> str:
    """32 hex digits; exact duplicates after normalisation share it. Lone surrogates must be gone by now."""
    return hashlib.blake2b(normalised_text.encode("utf-8"), digest_size=DOC_ID_BYTES, person=b"mglm-doc").hexdigest()


def uniform(doc_id: str, purpose: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends only on the document, the purpose and the seed."""
    person = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=16).digest()
    digest = hashlib.blake2b(doc_id.encode("ascii"), digest_size=8, person=person).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)  # 53 bits fit a double exactly


def split_of(doc_id: str, heldout_share: float) -> str:
    """`heldout` for a share of all documents, else `train`.

    The corpus job also holds out the document with the smallest number of a language that has at least
    `HELDOUT_MINIMUM_DOCUMENTS` and none below the share, so that each such language can be measured.
    """
    return "heldout" if uniform(doc_id, "split") < heldout_share else "train"
