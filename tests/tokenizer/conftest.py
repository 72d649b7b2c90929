"""A few sentences in many scripts, a sample, documents and a tiny tokenizer made of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, SAMPLE, SAMPLE_TABLE
from core.spark import SparkConfig, spark_session
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.train import train_tokenizer

# Three sentences for each language, as a reader of it would divide them.
SENTENCES: dict[str, list[str]] = {
    "en": ["The river rises in spring.", " Does the bridge hold?", " It did last year!"],
    "ru": ["Весной река поднимается.", " Выдержит ли мост?", " В прошлом году выдержал!"],
    "el": ["Το ποτάμι φουσκώνει την άνοιξη.", " Αντέχει η γέφυρα\u037e", " Πέρυσι άντεξε!"],
    "zh": ["春天河水上涨。", "桥还牢固吗？", "去年没有问题！"],
    "ja": ["春になると川の水が増える。", "橋は大丈夫だろうか？", "去年は無事だった。"],
    "ko": ["봄이 되면 강물이 불어난다.", " 다리는 버틸까?", " 작년에는 버텼다."],
    "hi": ["वसंत में नदी का पानी बढ़ता है।", " क्या पुल टिकेगा?", " पिछले साल वह टिका रहा।"],
    "bn": ["বসন্তে নদীর পানি বাড়ে।", " সেতু কি টিকবে?", " গত বছর টিকে ছিল।"],
    "ta": ["வசந்த காலத்தில் ஆற்றில் நீர் உயர்கிறது.", " பாலம் தாங்குமா?", " கடந்த ஆண்டு தாங்கியது."],
    "ar": ["يرتفع النهر في الربيع.", " هل يصمد الجسر؟", " لقد صمد في العام الماضي."],
    "ur": ["بہار میں دریا چڑھتا ہے۔", " کیا پل قائم رہے گا؟", " پچھلے سال قائم رہا۔"],
    "iw": ["באביב הנהר עולה.", " האם הגשר יחזיק?", " בשנה שעברה הוא החזיק."],
    "am": ["ወንዙ በጸደይ ይሞላል።", " ድልድዩ ይችላል፧", " ባለፈው ዓመት ችሏል።"],
    "hy": ["Գարնանը գետը բարձրանում է։", " Կամուրջը կդիմանա արդյոք։", " Անցյալ տարի դիմացավ։"],
    "ka": ["გაზაფხულზე მდინარე ადიდდება.", " გაუძლებს ხიდი?", " შარშან გაუძლო."],
    "km": ["ទឹកទន្លេឡើងនៅរដូវក្ដៅ។", " តើស្ពានរឹងមាំទេ?", " ឆ្នាំមុនវារឹងមាំ។"],
    "my": ["နွေဦးမှာ မြစ်ရေတက်သည်။", " တံတား ခိုင်ပါသလား။", " မနှစ်က ခိုင်ခဲ့သည်။"],
    "th": ["น้ำในแม่น้ำสูงขึ้นในฤดูใบไม้ผลิ", " สะพานจะรับไหวหรือไม่", " ปีที่แล้วยังรับไหว"],
    "lo": ["ນ້ຳໃນແມ່ນ້ຳຂຶ້ນໃນລະດູໃບໄມ້ປົ່ງ", " ຂົວຈະທົນໄດ້ບໍ່", " ປີກາຍນີ້ຍັງທົນໄດ້"],
}


@pytest.fixture(params=list(SENTENCES))
def real_sentences(request: pytest.FixtureRequest) -> list[str]:
    """The sentences of one language, and of each in turn."""
    return SENTENCES[request.param]


def text_of(lang: str, number: int) -> str:
    """A document: the language's sentences turned round by `number`, and the number itself, so that none is equal."""
    sentences = SENTENCES[lang]
    turned = [sentences[(number + index) % len(sentences)] for index in range(len(sentences))]
    return "".join(turned).strip() + f"\n{number} {sentences[number % 3].strip()}"


@pytest.fixture(scope="session")
def sample_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "sample"
    stage = open_stage(directory, schema=SAMPLE, config={}, inputs={})
    rows = [
        {"doc_id": document_id(text_of(lang, number)), "lang": lang, "copy": 0, "text": text_of(lang, number)}
        for lang in SENTENCES
        for number in range(30)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_TABLE), directory / "part-0.parquet")
    stage.finish(rows={"part-0.parquet": len(rows)})
    return directory


@pytest.fixture(scope="session")
def tokenizer_directory(sample_directory: Path) -> Path:
    """Made of a request that the sample cannot carry."""
    directory = sample_directory.parent / "tokenizer"
    train_tokenizer(sample_directory, directory, TokenizerConfig(vocab_size=20_000, num_threads=1))
    return directory


@pytest.fixture(scope="session")
def tokenizer(tokenizer_directory: Path) -> Tokenizer:
    return Tokenizer.load(tokenizer_directory)


DOCUMENTS_OF_LANGUAGE = {"en": 57, "hi": 23, "th": 2, "zh": 9, "ka": 4}


@pytest.fixture(scope="session")
def documents_directory(sample_directory: Path) -> Path:
    """documents/1 as the corpus stage lays it out: five languages, one document in ten held out."""
    directory = sample_directory.parent / "documents"
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    counts = {}
    for lang, count in DOCUMENTS_OF_LANGUAGE.items():
        rows = [_document(lang, number) for number in range(count)]
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        for part in range(2):
            table = pa.Table.from_pylist(rows[part::2], schema=DOCUMENTS_TABLE)
            pq.write_table(table, folder / f"part-{part}.parquet")
        counts[lang] = {
            "documents": len(rows),
            "heldout_documents": sum(row["split"] == "heldout" for row in rows),
            "characters": sum(row["n_chars"] for row in rows),
            "bytes": sum(row["n_bytes"] for row in rows),
        }
    stage.finish(counts=counts)
    return directory


def _document(lang: str, number: int) -> dict[str, Any]:
    text = text_of(lang, number)
    return {
        "doc_id": document_id(text),
        "text": text,
        "url": None,
        "script": "Zyyy",
        "lid_label": lang,
        "lid_score": 1.0,
        "n_chars": len(text),
        "n_bytes": len(text.encode()),
        "source": "test",
        "offset": number,
        "split": "heldout" if number % 10 == 9 else "train",
    }


@pytest.fixture(scope="session")
def plan_path(sample_directory: Path) -> Path:
    """A plan that leaves one language of the documents out and names one that they lack."""
    shares = {"en": 0.5, "hi": 0.2, "zh": 0.15, "th": 0.1, "yo": 0.05}
    names = ("count", "fitted_count", "raw_share", "stage1_share", "share")
    languages = [
        {"code": code, "rank": rank, **dict.fromkeys(names, share)}
        for rank, (code, share) in enumerate(shares.items(), start=1)
    ]
    plan = {
        "schema": "plan/1",
        "strategy": "table",
        "alpha": None,
        "curve": None,
        "count_unit": "documents",
        "languages": languages,
    }
    path = sample_directory.parent / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


SPARK = SparkConfig(master="local[2]", driver_memory="1g", shuffle_partitions=3, partitions_per_core=1)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkConfig]:
    """Keeps one session open for all tests of this folder; the job finds it there."""
    with spark_session("tests", SPARK):
        yield SPARK
