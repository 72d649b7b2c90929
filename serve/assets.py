"""The page at `/` and its two files, read once. Nothing in them is filled in: the page asks the API as others do."""

import hashlib
from importlib import resources

from fastapi import FastAPI, Request
from starlette.responses import Response


def add_page(app: FastAPI) -> None:
    """Routes `/`, `/page.css` (the house's style with the page's own) and `/page.js`."""
    own = resources.files("serve").joinpath("page")
    house = resources.files("core").joinpath("templates", "page.css").read_text("utf-8")
    files = {
        "/": ("text/html", own.joinpath("index.html").read_text("utf-8")),
        "/page.css": ("text/css", house + own.joinpath("page.css").read_text("utf-8")),
        "/page.js": ("text/javascript", own.joinpath("page.js").read_text("utf-8")),
    }
    for path, (media_type, text) in files.items():
        _add(app, path, media_type, text)


def _add(app: FastAPI, path: str, media_type: str, text: str) -> None:
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}  # ask each time, send only what changed

    async def page(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)

    app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
