"""One Spark session for the folder, and a small crawl with everything that crawls contain."""

import json
import os
from collections.abc import Iterator

import pytest

from core.spark import SparkConfig, spark_session

SPARK = SparkConfig(master="local[2]", driver_memory="1g", shuffle_partitions=3, partitions_per_core=1)

SENTENCES = {
    "en": "The old bridge over the river was closed for repairs after the winter storms, said the council on day {}.",
    "de": "Die alte Brücke über den Fluss wurde nach den Winterstürmen gesperrt, sagte der Stadtrat am Tag {}.",
    "ru": "Старый мост через реку закрыли на ремонт после зимних бурь, сообщил городской совет в день {}.",
    "zh": "由于冬季暴风雨，横跨河流的旧桥已关闭进行维修，市议会在第{}天表示，工程将持续三个月。",
    "ta": "குளிர்காலப் புயல்களுக்குப் பிறகு ஆற்றின் மீதுள்ள பழைய பாலம் மூடப்பட்டது என்று நகர சபை {} ஆம் நாள் கூறியது.",
}
DOCUMENTS = {"en": 60, "de": 30, "ru": 12, "zh": 12, "ta": 5}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkConfig]:
    """Keeps one session open for all tests of this folder; the job finds it there."""
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # twice as fast when short
    with spark_session("tests", SPARK):
        yield SPARK


@pytest.fixture(scope="session")
def crawl() -> bytes:
    """119 documents of five languages, 2 of none, 7 duplicates, 4 rejected records, 1 of invalid UTF-8, blank lines."""
    texts = [SENTENCES[lang].format(number) for lang, count in DOCUMENTS.items() for number in range(count)]
    texts += ["0123456789 " * 9, "?!"]
    records = [json.dumps({"text": text, "url": f"https://example.org/{number}"}) for number, text in enumerate(texts)]
    lines = [record.encode() for record in records]
    lines[5] = lines[5].replace(b"https", b"\xffttps")
    lines[20:20] = [b"", b'{"text": "cut', b"  ", b'{"body": "no text"}', b"7"]
    repeated = [json.dumps({"text": f" {text}\r\n"}, ensure_ascii=False).encode() for text in texts[:7]]
    return b"\n".join([*lines, *repeated, b'{"text": "\\u0000"}'])
