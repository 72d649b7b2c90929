"""Near-duplicates beside datatrove's MinHash pipeline: time, memory, and pairs found against exact Jaccard similarity.

English documents, some of them several times with words replaced at a known rate. Both get the same files, the same
bands, two processes, and words cut at spaces. Of every pair whose similarity is not nearly 0 the exact Jaccard
similarity of its runs of five words decides what ought to be found.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import texts
from benchmarks.record import Measure, in_turn, median_s, write_record
from core.documents import document_id
from core.log import set_up_logging
from core.spark import SparkConfig, run_tasks, spark_session
from corpus.near_duplicates import packed_keys
from corpus.near_duplicates_config import NearDuplicatesConfig

PEERS = texts.ROOT / ".venv-peers" / "bin" / "python"
CORES = 2
RATES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)  # of words replaced
SIMILARITIES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
CONFIG = NearDuplicatesConfig(enabled=True)
DATATROVE = """
import struct, sys, time
from pathlib import Path
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer

source, work, cores, bands, rows = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
config = MinhashConfig(n_grams=5, num_buckets=bands, hashes_per_bucket=rows, hash_config=HashConfig(hash_fc="sha1"))

class Words(WordTokenizer):
    def word_tokenize(self, text):
        return text.split()

    def sent_tokenize(self, text):
        return [text]

    def span_tokenize(self, text):
        return [(0, len(text))]

def run(steps, tasks, name):
    LocalPipelineExecutor(
        pipeline=steps, tasks=tasks, workers=min(cores, tasks), logging_dir=f"{work}/log-{name}"
    ).run()

if __name__ == "__main__":
    started = time.perf_counter()
    reader = ParquetReader(source, glob_pattern="*.parquet")
    signatures = MinhashDedupSignature(f"{work}/signatures", config=config, language=Words())
    run([reader, signatures], cores, "1")
    run([MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)], bands, "2")
    run([MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config, save_cluster_id=True)], 1, "3")
    print(time.perf_counter() - started)
"""


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), arguments.documents, arguments.rounds)


def measure_in(work: Path, number: int, rounds: int) -> None:
    families = made_families(number)
    documents = [text for family in families for text in family]
    random.Random(0).shuffle(documents)
    source = work / "source"
    source.mkdir()
    for part in range(CORES):
        rows = [{"text": text, "id": str(index)} for index, text in enumerate(documents[part::CORES])]
        pq.write_table(pa.Table.from_pylist(rows), source / f"{part}.parquet")
    measured: dict[str, list[Measure]] = {}
    groups: dict[str, dict[str, int]] = {}
    remarks = []
    if PEERS.exists():
        measured |= in_turn({"datatrove": partial(datatrove, source, work)}, rounds)
        groups["datatrove"] = datatrove_groups(work / "datatrove" / "remove", documents)
    else:
        remarks.append("Without datatrove: no .venv-peers (`make bench` makes it).")
    with spark_session("benchmark", SparkConfig(master=f"local[{CORES}]")) as session:
        calls = {"mglm": partial(ours, session, source, work)}
        in_turn(calls, 1)  # the first round of Spark is another matter
        measured |= in_turn(calls, rounds)
    groups["mglm"] = our_groups(work / "found")
    exact = exact_pairs(families)
    heads = ["what", "seconds", "MB/s", "peak memory, MiB"]
    heads += [f"found of {label}" for label in bin_labels()] + ["pairs found", "of them below 0.5"]
    text_bytes = sum(len(text.encode()) for text in documents)
    table = []
    for name, of_call in measured.items():
        found = share_found(groups[name], exact)
        together = [similarity for (a, b), similarity in exact.items() if same_group(groups[name], a, b)]
        low = sum(similarity < 0.5 for similarity in together)
        table.append(
            [
                name,
                f"{median_s(of_call):.1f}",
                f"{text_bytes / median_s(of_call) / 1e6:.2f}",
                f"{max(measure.peak_bytes for measure in of_call) / 2**20:,.0f}",
                *found,
                len(together),
                f"{low / max(1, len(together)):.1%}",
            ]
        )
    if "datatrove" in measured:
        quicker = median_s(measured["datatrove"]) / median_s(measured["mglm"])
        remarks.append(f"Ours takes 1/{quicker:.2f} of datatrove's time.")
    write_record(
        "near_duplicates",
        "Near-duplicates beside datatrove and exact Jaccard similarity",
        heads,
        table,
        remarks=[
            f"{len(documents):,} English documents, {text_bytes / 1e6:.0f} MB, from {texts.source()}, in "
            f"{len(families):,} families with words replaced at rates of {', '.join(f'{rate:.1%}' for rate in RATES)}; "
            f"{CONFIG.bands} bands of {CONFIG.rows}, runs of {CONFIG.words} words, {CORES} processes, medians of "
            f"{rounds} rounds. Columns say which share of pairs of an exact similarity ended in one group; groups "
            "join what is alike through a third, so dissimilar pairs are in them too.",
            f"{', '.join(f'{label}: {count:,} pairs' for label, count in pairs_in_bins(exact).items())}.",
            "Ours in a warm Spark session, JVM and workers in its memory; datatrove without its imports.",
            *remarks,
        ],
    )


def made_families(number: int) -> list[list[str]]:
    """At least `number` documents: texts, most of them alone, others with up to five copies that differ in words."""
    generator = random.Random(1)
    source = texts.texts()["en"]
    pieces = [" ".join(words) for text in source if (words := text.split()[:600]) and len(words) >= 50]
    pieces = list(dict.fromkeys(pieces))
    vocabulary = sorted({word for piece in pieces[:200] for word in piece.split()})
    families: list[list[str]] = []
    made = turn = 0
    while made < number:
        words = pieces[turn % len(pieces)].split()
        if turn >= len(pieces):  # the texts are used up: other words at the same places
            words = generator.choices(vocabulary, k=len(words))
        turn += 1
        family = {" ".join(words)}
        for _ in range(generator.choice((0, 0, 1, 2, 5))):
            rate = generator.choice(RATES)
            family.add(" ".join(generator.choice(vocabulary) if generator.random() < rate else w for w in words))
        families.append(sorted(family))
        made += len(family)
    return families


def ours(session: object, source: Path, work: Path) -> None:
    """Keys in Spark tasks, then the search."""
    from corpus.near_duplicates_job import write_near_duplicates

    keys = work / "keys"
    keys.mkdir(exist_ok=True)
    run_tasks(session, [[path] for path in sorted(source.glob("*.parquet"))], partial(write_keys, keys))  # type: ignore[arg-type]
    near = work / "near"
    near.mkdir(exist_ok=True)
    write_near_duplicates(session, keys, near, work / "found")  # type: ignore[arg-type]


def write_keys(keys: Path, path: Path) -> None:
    texts_of = pq.read_table(path).column("text").to_pylist()
    rows = [
        {"lang": "en", "doc_id": document_id(text), "source": path.name, "offset": offset, "keys": packed}
        for offset, (text, packed) in enumerate(zip(texts_of, packed_keys(texts_of, CONFIG), strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows), keys / f"{path.stem}.parquet")


def our_groups(found: Path) -> dict[str, int]:
    rows = pq.read_table(found).to_pylist()
    names = {doc_id: number for number, doc_id in enumerate(sorted({row["kept"] for row in rows}))}
    return {row["doc_id"]: names[row["kept"]] for row in rows} | names


def datatrove(source: Path, work: Path) -> None:
    folder = work / "datatrove"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir()
    script = work / "datatrove_job.py"
    script.write_text(DATATROVE, "utf-8")
    command = [str(PEERS), str(script), str(source), str(folder), str(CORES), str(CONFIG.bands), str(CONFIG.rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"datatrove failed:\n{done.stderr[-2_000:]}")


def datatrove_groups(remove: Path, documents: list[str]) -> dict[str, int]:
    """doc_id → group, from its files of (document, cluster)."""
    import struct

    groups = {}
    for path in sorted(remove.glob("*.clusters")):
        part = int(re.sub(r"\D", "", path.stem))
        of_part = documents[part::CORES]
        for document, cluster in struct.iter_unpack("<2I", path.read_bytes()):
            groups[document_id(of_part[document])] = cluster
    return groups


def exact_pairs(families: list[list[str]]) -> dict[tuple[str, str], float]:
    """The similarity of every pair within a family; texts of different families share next to nothing."""
    found = {}
    for family in families:
        runs = {document_id(text): runs_of(text) for text in family}
        ids = sorted(runs)
        for place, one in enumerate(ids):
            for other in ids[place + 1 :]:
                common = len(runs[one] & runs[other])
                found[one, other] = common / (len(runs[one]) + len(runs[other]) - common)
    return found


def runs_of(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + CONFIG.words]) for start in range(len(words) - CONFIG.words + 1)}


def bin_labels() -> list[str]:
    tops = ("", *(f"{value}" for value in SIMILARITIES))
    return [f"≥ {low}" if not top else f"{low}–{top}" for low, top in zip(SIMILARITIES, tops, strict=False)]


def pairs_in_bins(exact: Mapping[tuple[str, str], float]) -> dict[str, int]:
    bins = bins_of(exact)
    return {label: len(pairs) for label, pairs in zip(bin_labels(), bins, strict=True)}


def bins_of(exact: Mapping[tuple[str, str], float]) -> list[list[tuple[str, str]]]:
    bins: list[list[tuple[str, str]]] = [[] for _ in SIMILARITIES]
    for pair, similarity in exact.items():
        for number, low in enumerate(SIMILARITIES):
            if similarity >= low:
                bins[number].append(pair)
                break
    return bins


def share_found(groups: Mapping[str, int], exact: Mapping[tuple[str, str], float]) -> list[str]:
    shares = []
    for pairs in bins_of(exact):
        found = sum(same_group(groups, one, other) for one, other in pairs)
        shares.append(f"{found / len(pairs):.1%}" if pairs else "–")
    return shares


def same_group(groups: Mapping[str, int], one: str, other: str) -> bool:
    return one in groups and groups[one] == groups.get(other)


if __name__ == "__main__":
    main()
