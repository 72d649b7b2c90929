"""How much of each language a token budget needs, and which parts are to be written next to have just that.

A budget draws of each language as many tokens as its share says. The first documents in the order of the hash are
tokenised until the language's stream is that long. What is chosen depends on documents, tokenizer, plan and budget
alone, and the choice of a larger budget begins with that of a smaller one.

How many tokens a part holds is known when it is written. So parts are written in rounds: the first of each language,
then all that are surely needed, by what the first ones hold, then the last one, cut at the document that suffices.
"""

import math
from collections.abc import Mapping, Sequence

from tokenizer.shard_writer import Part, PartRow

_SURELY = 0.95  # of the parts that are needed by the mean of those before, so many are surely needed


def needed_tokens(shares: Mapping[str, float], documents: Mapping[str, int], budget_tokens: float) -> dict[str, int]:
    """Stream tokens that a budget draws of each language that has documents; the shares of the others go to them."""
    present = {lang: share for lang, share in shares.items() if share > 0 and documents.get(lang)}
    whole = sum(present.values())
    return {lang: math.ceil(budget_tokens * share / whole) for lang, share in present.items()}


def next_parts(parts: Sequence[Part], rows: Mapping[int, PartRow], needed: int | None) -> list[tuple[Part, int | None]]:
    """Parts of one language to be written now, with the limit of each; none when all is there.

    `parts` in order, `rows` by part number; `needed` None: all of them.
    """
    if needed is None:
        return [(part, None) for part in parts if part.number not in rows or not rows[part.number].whole]
    reached = 0
    for done, part in enumerate(parts):
        row, missing = rows.get(part.number), needed - reached
        if missing <= 0:
            return []
        if row is None or not row.whole or row.stream >= missing:
            if row is not None and row.limit == missing and (row.stream >= missing or row.whole):
                return []
            sure = int(_SURELY * missing * done / reached) if row is None and reached else 0
            ahead = parts[done : done + sure]  # some of which a run that was killed may have finished
            return [(p, None) for p in ahead if p.number not in rows or not rows[p.number].whole] or [(part, missing)]
        reached += row.stream
    return []


def kept_parts(parts: Sequence[Part], rows: Mapping[int, PartRow], needed: int | None) -> list[PartRow]:
    """The rows of a language that are in its stream, once `next_parts` asks for no more."""
    kept: list[PartRow] = []
    reached = 0
    for part in parts:
        if needed is not None and reached >= needed:
            break
        kept.append(rows[part.number])
        reached += kept[-1].stream
    return [row for row in kept if row.rows]
