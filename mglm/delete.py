"""`mglm delete`: takes documents out of everything that was made of them, in the order that loses no knowledge.

First what runs had seen of them is written into the runs; then they go from the shards, and last from the documents,
which alone know a document by its URL. Each of these
is whole or not done at all; killed in between, the same command goes on: what is gone is found gone.
"""

from collections.abc import Sequence
from pathlib import Path

from core.config import RunConfig
from core.deletion import check_nothing_begun
from core.errors import MGLMError
from core.log import get_logger
from core.spark import SparkConfig

log = get_logger("delete")


def delete(
    *,
    documents: Path | None,
    shards: Path | None,
    runs: Sequence[Path],
    ids: Path | None,
    urls: Path | None,
    run_config: RunConfig,
) -> list[str]:
    """Deletes, and says in lines what was found where.

    Raises:
        MGLMError: nothing to delete from, a list that is broken, URLs without documents, runs without their shards.
    """
    from corpus.delete import delete_documents, wanted_ids
    from tokenizer.delete import delete_from_shards
    from train.drawn import drawn, record_deletion

    if documents is None and shards is None:
        raise MGLMError("mglm delete", expected="--documents DIR, --shards DIR or both")
    if runs and shards is None:
        raise MGLMError("mglm delete --run", expected="--shards DIR, those that the run was trained on")
    spark = run_config.section("spark", SparkConfig)
    if urls is not None and documents is None:
        raise MGLMError("mglm delete --urls", expected="--documents DIR, which knows documents by their URLs")
    for directory in filter(None, (shards, documents)):
        check_nothing_begun(directory)  # of both before either is changed
    wanted = wanted_ids(documents or Path(), ids, urls, spark)
    lines = []
    for run in runs:
        assert shards is not None
        rows = drawn(run, shards, wanted)
        record_deletion(run, rows)
        for row in rows:
            steps = f"{row['windows']} times, in steps {row['first_step']} to {row['last_step']}"
            seen = steps if row["windows"] else "never"
            lines.append(f"{run}: {row['doc_id']} ({row['lang']}) drawn {seen}; the run is at step {row['up_to_step']}")
    if shards is not None:
        lines.append(f"{shards}: {len(delete_from_shards(shards, wanted))} of {len(wanted)} deleted")
    if documents is not None:
        deleted = delete_documents(documents, ids=wanted, spark=spark)
        lines.append(f"{documents}: {len(deleted)} of {len(wanted)} deleted")
    return lines
