"""What the application answers before any model is asked."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.app import build_app
from serve.config import ServeConfig
from serve.logs import FIELDS
from serve.metrics import Metrics
from serve.scheduler import Scheduler
from serve.schema import Language
from serve.tokens import Tokens


def post(**request: Any) -> httpx.Response:
    """A request to an application whose language detector fails."""

    def detect(text: str) -> Language:
        raise ValueError(f"no language: {text}")

    async def ask() -> httpx.Response:
        config, metrics = ServeConfig(), Metrics()
        scheduler = Scheduler(Path("model"), config, 200, metrics)
        transport = httpx.ASGITransport(build_app(config, scheduler, metrics, Tokens([]), detect))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/summaries", **request)

    return asyncio.run(ask())


def test_what_nobody_foresaw_is_answered_under_the_id_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = post(json={"text": "a river"}, headers={"x-request-id": "mine"})
    assert (response.status_code, response.json()["reason"]) == (500, "internal_error")
    assert "a river" not in response.text
    assert response.headers["x-request-id"] == "mine"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    events = {record.getMessage(): record for record in caplog.records if hasattr(record, FIELDS)}
    assert {getattr(record, FIELDS)["request_id"] for record in events.values()} == {"mine"}
    failed = events["request failed"].exc_info
    assert failed is not None
    assert failed[0] is ValueError
    assert getattr(events["request"], FIELDS)["status"] == 500


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/x-www-form-urlencoded"}], ids=["none", "curl's"])
def test_a_forgotten_content_type_is_named(headers: dict[str, str]) -> None:
    response = post(content=b'{"text": "a river"}', headers=headers)
    assert (response.status_code, response.json()["reason"]) == (422, "invalid")
    assert response.json()["detail"].endswith("send the header Content-Type: application/json.")


@pytest.mark.parametrize(("body", "status"), [(b"", 422), (b"{", 400), (b"[]", 422), (b'"text"', 422)])
def test_what_is_sent_as_json_is_judged_as_json(body: bytes, status: int) -> None:
    response = post(content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert "Content-Type" not in response.json()["detail"]
