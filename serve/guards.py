"""What a request passes before a route sees it, outermost first: record, host name, token or page, size. Plain ASGI.

Each refuses with a problem that says why. None of them reads what a body says.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.log import get_logger
from serve.logs import FIELDS
from serve.metrics import Metrics
from serve.problems import REASON, Refusal
from serve.tokens import Tokens

ARRIVED = "mglm.arrived_s"  # of the loop's clock; a request's deadline counts from here
NOTES = "mglm.notes"  # what a route wants in the request's log line: numbers and codes, never text
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROTECTED = ("/v1/", "/metrics")
_HEALTH = ("/healthz", "/readyz")
_PROBES = (*_HEALTH, "/metrics")  # asked every few seconds, and worth a line only when they fail

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

log = get_logger("serve.request")


class Record:
    """Gives each request an id, measures it, and writes its one line of the log. Adds the security headers. What
    nobody foresaw becomes an answer here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, cross_origin: bool) -> None:
        self.app, self.metrics = app, metrics
        self.headers = dict(SECURITY_HEADERS)
        if cross_origin:
            self.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        scope[ARRIVED] = asyncio.get_running_loop().time()
        scope[NOTES] = {}
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**self.headers, "X-Request-ID": request_id}.items():
                    headers[name] = value
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception:
            # Here and not outside of everything, where FastAPI's handler would be: the client learns the request's id.
            log.exception("request failed", extra={FIELDS: {"request_id": request_id}})
            if status:
                scope.setdefault(REASON, "internal_error")
                raise  # the answer has begun: all that is left is to break the connection off
            detail = "Something failed; the log has it under this request's id."
            await Refusal(500, "internal_error", detail).response(scope)(scope, receive, note)
        finally:
            self._write(scope, status, time.perf_counter() - started, request_id)

    def _write(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        # The route's template: a raw path is the client's text. 499: the client left before there was an answer.
        route = getattr(scope.get("route"), "path", "unmatched")
        status = status or 499
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.latency.labels(route).observe(seconds)
        reason = scope.get(REASON)
        if reason is not None:
            self.metrics.refusals.labels(reason).inc()
        fields = {"request_id": request_id, "method": _known_method(scope["method"]), "route": route, "status": status,
                  "ms": round(1000 * seconds, 1), **scope[NOTES]}  # fmt: skip
        level = logging.DEBUG if route in _PROBES and status < 400 else logging.INFO
        log.log(level, "request", extra={FIELDS: fields if reason is None else {**fields, "reason": reason}})


class HostNames:
    """Answers to its own names alone: another site's name that points here is a browser being used (DNS rebinding).
    Health, which says nothing, is told to any: whoever looks after the service asks for it by address."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app, self.names = app, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = scope["type"] == "http" and self.names and scope["path"] not in _HEALTH
        if named and _host_name(scope) not in self.names:
            names = ", ".join(sorted(self.names))
            refusal = Refusal(421, "host", f"The Host header names none of {names}. See serve.allowed_hosts.")
            await refusal.response(scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)


class BearerTokens:
    """Asks for a token where the API and the metrics are; health and the page are open."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self.app, self.tokens = app, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PROTECTED):
            authorization = Headers(scope=scope).get("authorization")
            if not self.tokens.accept(authorization):
                found = "This token is not accepted." if authorization else "A token is needed."
                detail = f"{found} Send the header Authorization: Bearer TOKEN."
                refusal = Refusal(401, "token", detail, headers={"WWW-Authenticate": "Bearer"})
                await refusal.response(scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class OwnPages:
    """Where no token is asked for: takes orders from programs and from its own page, not from another site's. Such a
    page may send a POST that it cannot read the answer of, and a reload needs no more. Browsers say whose page asks: by
    Sec-Fetch-Site or, those that do not, by Origin."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._foreign(Headers(scope=scope)):
            refusal = Refusal(403, "origin", "Another site's page asks. See serve.cors_origins.")
            await refusal.response(scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _foreign(self, headers: Headers) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self.origins or "*" in self.origins:
            return False
        if site is None:
            return origin is not None and origin.partition("://")[2] != headers.get("host", "")
        return site not in ("none", "same-origin")


class BoundedBody:
    """Reads the body before the route does, and refuses what is longer than it may be, whether or not it says so."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        body = bytearray()
        more = True
        too_long = said.isdecimal() and int(said[:20]) > self.most_bytes
        while more and not too_long:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            too_long = len(body) > self.most_bytes
        if too_long:
            detail = f"The body is longer than {self.most_bytes:,} bytes, which is the limit."
            await Refusal(413, "body_too_long", detail, limit=self.most_bytes).response(scope)(scope, receive, send)
            return
        told = False

        async def again() -> Message:
            nonlocal told
            if told:
                return await receive()  # the next there is: that the client left
            told = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, again, send)


def _host_name(scope: Scope) -> str:
    try:
        return (urlsplit("//" + Headers(scope=scope).get("host", "")).hostname or "").lower()
    except ValueError:
        return ""


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
