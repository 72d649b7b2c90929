"""The Spark side of `mglm corpus build`: tasks that read their own input and write their own files.

Text never crosses the JVM and nothing is shuffled by it: a task makes a part of the work table of its splits, later
others gather ranges of hashes from the parts, by way of passes where these are many. Only the search for
near-duplicates is Spark SQL, on keys.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from core.detector import Detection, LanguageDetector
from core.documents import document_id, split_of
from core.errors import MGLMError
from core.manifest import FileEntry, sha256_file
from core.scripts import script_of
from core.spark import into_bins, run_tasks
from corpus.config import CorpusConfig
from corpus.inputs import Split, part_weights
from corpus.joining import Joining
from corpus.merge import Merged, Merging, Piece
from corpus.mojibake import MOJIBAKE
from corpus.parts import Keys, PartWriter, Summary, finished_parts, part_name, read_journal, summarise
from corpus.passes import Passes, Passing
from corpus.readers import read_records
from corpus.records import RAW_CHARACTERS, Accepted
from corpus.rules import Rules
from corpus.verdicts import Document, Refusal

Session = SparkSession
JOURNALS_OF_TASK = 2_000


@dataclass(frozen=True)
class Reading:
    """What a task needs to know to read a part. `lid_model` None: the detector as the worker has it installed."""

    parts: Path
    config: CorpusConfig
    lid_model: Path | None = None
    lid_sha256: str | None = None  # of the driver's detector
    lists_sha256: str = ""  # of the lists and models of the rules together

    def read(self, item: tuple[int, Sequence[Split]]) -> None:
        """Reads, judges and detects the records of a part; one that is finished is not read again."""
        number, splits = item
        name = part_name(number)
        if read_journal(self.parts, name) is not None:
            return
        config = self.config
        detector, rules = _judges_of_worker(
            self.lid_model, self.lid_sha256, self.lists_sha256, config.model_dump_json()
        )
        writer = PartWriter(self.parts, name, config.run_bytes, keys_of(config))
        for split in splits:
            for offset, verdict in read_records(split, config, writer.skipped):
                place = {"source": split.path, "offset": offset}
                writer.invalid_utf8 += verdict.invalid_utf8
                if not isinstance(verdict, Accepted):
                    writer.reject(place | {"reason": verdict.reason, "detail": verdict.detail, "raw": verdict.raw})
                    continue
                judged = _judge(Document(verdict.text, verdict.url, changes=_mended(verdict)), detector, rules, config)
                if isinstance(judged, Refusal):
                    detail, raw = judged.detail[:RAW_CHARACTERS], verdict.text[:RAW_CHARACTERS]
                    writer.reject(place | {"reason": judged.reason, "detail": detail, "raw": raw})
                    continue
                document, detection = judged
                if document.changes:
                    writer.changes += document.changes
                writer.add(place | _describe(document, detection, config))
        writer.finish()


@cache
def _judges_of_worker(
    lid_model: Path | None, lid_sha256: str | None, lists_sha256: str, settings: str
) -> tuple[LanguageDetector, Rules]:
    """Made once in each Python worker: to hash a large detector or to read a long list takes as long as a part."""
    config = CorpusConfig.model_validate_json(settings)
    detector = LanguageDetector(
        lid_model, max_characters=config.lid_max_characters, minimum_letters=config.lid_minimum_letters
    )
    if lid_sha256 is not None and sha256_file(detector.path) != lid_sha256:
        raise MGLMError(
            f"{detector.path} of a worker", found="another detector than the driver's", expected="the same file",
            action="install the same packages on both, or give --lid-model on storage that all machines share",
        )  # fmt: skip
    return detector, Rules(config.rules)


def read_parts(session: SparkSession, parts: Sequence[Sequence[Split]], reading: Reading, *, tasks: int) -> Summary:
    """Makes every part that is not finished, each a task or small ones together; what all of them hold, in order."""
    finished = finished_parts(reading.parts)
    sizes = {number: weight for number, weight in enumerate(part_weights(parts)) if number not in finished}
    bins = [[(number, parts[number]) for number in numbers] for numbers in into_bins(sizes, max(tasks, len(sizes)))]
    run_tasks(session, bins, reading.read)
    numbers = [
        range(first, min(first + JOURNALS_OF_TASK, len(parts))) for first in range(0, len(parts), JOURNALS_OF_TASK)
    ]
    found = (
        run_tasks(session, [[some] for some in numbers], partial(summarise, reading.parts))
        if len(numbers) > 1
        else [summarise(reading.parts, some) for some in numbers]
    )
    summary = Summary()
    for of_some in found:
        summary.extend(of_some)
    return summary


def pass_on(session: SparkSession, passes: Passes, work: Path) -> int:
    """Does the passes between parts and pieces, one after the other; how many duplicates they left out."""
    return sum(sum(run_tasks(session, [[group] for group in groups], Passing(work).run)) for groups in passes.groups)


def merge_pieces(session: SparkSession, passes: Passes, pieces: Sequence[Piece], merging: Merging) -> list[Merged]:
    """Makes every file of documents, a task for each bucket."""
    items = [(bucket.sources, pieces[bucket.first : bucket.last]) for bucket in passes.buckets]
    made = run_tasks(session, [[item] for item in items], merging.merge)
    return [merged for of_bucket in made for merged in of_bucket]


def hold_out(session: SparkSession, items: Sequence[tuple[Merged, str]], merging: Merging) -> list[Merged]:
    """Writes files again with one more document held out in each."""
    return run_tasks(session, [[item] for item in items], merging.hold_out)


def join_parts(session: SparkSession, groups: Sequence[tuple[int, Sequence[str]]], joining: Joining) -> list[FileEntry]:
    """Joins small tables of parts, a file for each group."""
    return run_tasks(session, [[group] for group in groups], joining.join)


def find_near_duplicates(session: SparkSession, keys: Path, work: Path, target: Path, deleted: Sequence[Path]) -> int:
    """Writes the doc_ids of documents that are too much like an earlier one, sorted by language and doc_id; returns
    their number. `keys` is a directory of KEYS_TABLE, `deleted` lists what is gone already."""
    from corpus.near_duplicates_job import write_near_duplicates

    return write_near_duplicates(session, keys, work, target, deleted=deleted)


def keys_of(config: CorpusConfig) -> Keys | None:
    """What is kept of texts so that near-duplicates can be found; None where they are not looked for."""
    if not config.near_duplicates.enabled:
        return None
    from corpus.near_duplicates import packed_keys

    return partial(packed_keys, config=config.near_duplicates)


def _judge(
    document: Document, detector: LanguageDetector, rules: Rules, config: CorpusConfig
) -> tuple[Document, Detection] | Refusal:
    """The document as every rule lets it pass, with its language."""
    before = rules.before_detection(document)
    if isinstance(before, Refusal):
        return before
    detection = detector.detect(before.text, config.lid_threshold)
    script = script_of(before.text)
    after = rules.after_detection(  # not by `replace`, which costs as much as finding the script
        Document(before.text, before.url, detection.lang, script, before.quality, before.changes)
    )
    if isinstance(after, Refusal):
        return after
    if (
        after.text is not before.text and after.text != before.text
    ):  # equal texts must have one language, whatever they were before
        detection = detector.detect(after.text, config.lid_threshold)
        after = replace(after, lang=detection.lang, script=script_of(after.text))
    return after, detection


def _mended(verdict: Accepted) -> Counter[str]:
    return Counter([MOJIBAKE] if verdict.mended else [])


def _describe(document: Document, detection: Detection, config: CorpusConfig) -> dict[str, Any]:
    """The columns of a document but its place."""
    doc_id = document_id(document.text)
    return {
        "doc_id": doc_id,
        "text": document.text,
        "url": document.url,
        "lang": document.lang,
        "script": document.script,
        "lid_label": detection.label,
        "lid_score": detection.score,
        "n_chars": len(document.text),
        "n_bytes": len(document.text.encode("utf-8")),
        "split": split_of(doc_id, config.heldout_share),
        "quality": document.quality,
    }
