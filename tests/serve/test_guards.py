import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from serve.guards import HostNames, OwnPages


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


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 200),  # a program
        ("POST", {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}, 200),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ("POST", {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"}, 403),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "null"}, 403),
        ("POST", {"sec-fetch-site": "cross-site", "origin": "https://news.example"}, 200),
        ("GET", {"sec-fetch-site": "cross-site"}, 200),  # a link to the page
        ("POST", {"origin": "http://any"}, 200),  # of a browser that says no more
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "null"}, 403),
    ],
)
def test_without_tokens_only_programs_and_its_own_page_give_orders(
    method: str, headers: dict[str, str], status: int
) -> None:
    routes = [Route("/v1/models/reload", lambda request: Response(), methods=["GET", "POST"])]
    guarded = OwnPages(Starlette(routes=routes), ["https://news.example"])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://any") as client:
            return await client.request(method, "/v1/models/reload", headers=headers)

    assert asyncio.run(ask()).status_code == status
