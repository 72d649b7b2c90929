"""One service for most tests, with a tiny model whose right answers the Summarizer itself gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.summarizer import Summarizer
from tests.serve.running import Service
from tests.serve.tiny_model import write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(scope="session")
def summarizer(model: Path) -> Summarizer:
    """What the service must agree with."""
    return Summarizer.from_pretrained(model, device="cpu")


@pytest.fixture(scope="session")
def service(model: Path) -> Iterator[Service]:
    running = Service(
        model, device="cpu", max_queue=4, max_texts=4, max_characters=2000, max_body_bytes=20_000, receive_timeout_s=2.0
    )
    try:
        yield running.ready()
    finally:
        running.stop()
