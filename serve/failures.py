"""Every error as a problem: what FastAPI and Starlette raise, and what validation finds, in words."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serve.answers import ClientGoneError
from serve.problems import MEDIA_TYPE, Problem, Refusal

CLIENT_CLOSED_REQUEST = 499  # nginx's number, for log and metrics; nobody receives it

MEANINGS = {
    400: "The body is not JSON in UTF-8.",
    401: "A token is needed, or this one is not accepted.",
    403: "Another site's page asks.",
    408: "The request did not arrive in time.",
    409: "A reload is under way.",
    413: "The body is too long.",
    421: "Asked under another host's name.",
    422: "A field does not fit; `detail` names it and what it takes.",
    500: "It failed; `detail` says where.",
    503: "Not now: the queue is full, the service ends, or no model is loaded. Retry-After says when.",
    504: "No answer before the deadline.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these answers are problems."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": MEANINGS[status], "content": {MEDIA_TYPE: schema}} for status in statuses}


def handle_failures(app: FastAPI) -> None:
    """Installs the handlers, and Problem among the schemas of OpenAPI."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return error.response(request.scope)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if isinstance(error.body, bytes):  # FastAPI read no JSON, for the request does not say that it is
            detail = "The body is not taken for JSON: send the header Content-Type: application/json."
            return Refusal(422, "invalid", detail).response(request.scope)
        return in_words(error.errors()).response(request.scope)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # what FastAPI makes of a body that is not even text
            return not_json().response(request.scope)
        phrase = HTTPStatus(error.status_code).phrase
        headers = dict(error.headers) if error.headers else None
        reason = phrase.lower().replace(" ", "_").replace("-", "_")
        return Refusal(error.status_code, reason, f"{phrase}.", headers=headers).response(request.scope)

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    generate = app.openapi

    def openapi() -> dict[str, Any]:
        known = app.openapi_schema is not None
        description = generate()
        if not known:
            description["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return description

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def in_words(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """One sentence about the first thing that does not fit. The value is never repeated: it may be an article."""
    # `text` may be a string or a list: that it is not the other one says nothing where it is one of them.
    telling = [error for error in errors if error["type"] not in ("string_type", "list_type")]
    first = (telling or errors)[0]
    where = _place(first["loc"])
    context = first.get("ctx", {})
    kind, limit = first["type"], None
    if kind == "json_invalid":
        return not_json()
    if kind == "missing":
        says = "is missing"
    elif kind == "extra_forbidden":
        says = "is not known"
    elif kind == "string_too_long":
        limit = context["max_length"]
        says = f"is longer than {limit:,} characters, which is the limit"
    elif kind == "string_pattern_mismatch":
        says = "is blank; give some text"
    elif kind in ("too_long", "too_short"):
        limit = context.get("max_length", context.get("min_length"))
        says = (
            f"has {context['actual_length']} items; the limit is {limit}" if kind == "too_long" else "is an empty list"
        )
    else:
        limit = next((context[name] for name in ("le", "lt", "ge", "gt") if name in context), None)
        says = "does not fit: " + _small(first["msg"])
    return Refusal(422, "invalid", f"{where} {says}.", limit=limit)


def not_json() -> Refusal:
    return Refusal(400, "not_json", MEANINGS[400])


def _place(loc: Sequence[int | str]) -> str:
    """`body.text` as "text", `body.text.3` as "text 4", without Pydantic's names for the arms of a union."""
    names: list[str] = []
    for part in loc[1:]:
        if isinstance(part, int):
            names.append(str(part + 1))
        elif part.isidentifier() and part not in ("str", "list"):
            names.append(part[:40])
    return " ".join(names) or "the body"


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
