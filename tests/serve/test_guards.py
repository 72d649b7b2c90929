import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from serve.guards import HostNames


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/v1/models", "news.example", 200),
        ("/v1/models", "News.Example:8000", 200),
        ("/v1/models", "127.0.0.1:8000", 421),
        ("/", "elsewhere.example", 421),
        ("/healthz", "127.0.0.1:8000", 200),  # the image's own health check
        ("/readyz", "10.0.0.7:8000", 200),  # a kubelet's
    ],
)
def test_a_service_with_names_answers_to_these_and_to_who_asks_for_its_health(
    path: str, host: str, status: int
) -> None:
    routes = [Route(known, lambda request: Response()) for known in ("/v1/models", "/", "/healthz", "/readyz")]
    guarded = HostNames(Starlette(routes=routes), ["news.example"])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://any") as client:
            return await client.get(path, headers={"host": host})

    assert asyncio.run(ask()).status_code == status
