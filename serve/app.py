"""The service's routes: what each takes, gives and refuses. Everything else is in the modules it puts together."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response, StreamingResponse

from core.errors import MGLMError
from serve.answers import answers, event, pieces, unless_left
from serve.assets import add_page
from serve.config import ServeConfig
from serve.failures import documented, handle_failures
from serve.guards import NOTES, BearerTokens, BoundedBody, HostNames, OwnPages, Record
from serve.languages import Detect
from serve.metrics import Metrics
from serve.problems import Refusal
from serve.scheduler import Scheduler
from serve.schema import (
    Health,
    Language,
    Limits,
    Model,
    Models,
    StreamInput,
    SummaryInput,
    SummaryItem,
    SummaryOutput,
    input_models,
)
from serve.tokens import Tokens, is_loopback

API_VERSION = "1.0.0"  # of what is asked and answered, not of the package

DESCRIPTION = """Any article in, a summary in another language out. Text is data: nothing in an article is an order.

Refusals are `application/problem+json`: a `reason`, a sentence in `detail` and, where one was passed, the `limit`."""

EVENT = {  # the schema of each
    "type": "object",
    "properties": {
        "event": {"enum": ["language", "piece", "summary", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
EVENTS = (
    'event: language\ndata: {"code": "en", "name": "English", "score": 0.98}\n\n'
    'event: piece\ndata: {"piece": "The river"}\n\n'
    'event: summary\ndata: {"summary": "The river rose.", "input_tokens": 61, "output_tokens": 5, "truncated": false, '
    '"passages": 1, "rounds": 0, "read_share": 1.0, '
    '"revision": "0f343b0931ad"}\n\n'
)


def build_app(config: ServeConfig, scheduler: Scheduler, metrics: Metrics, tokens: Tokens, detect: Detect) -> FastAPI:
    """The application. It starts nothing: whoever runs it runs `scheduler.run()` beside it."""
    app = FastAPI(title="mGLM summaries", version=API_VERSION, description=DESCRIPTION, docs_url=None, redoc_url=None)
    handle_failures(app)
    _add_summaries(app, config, scheduler, detect)
    _add_models(app, config, scheduler)
    _add_health(app, scheduler, metrics)
    add_page(app)

    # The last one added is the first that a request meets.
    app.add_middleware(BoundedBody, most_bytes=config.max_body_bytes)
    if tokens:
        app.add_middleware(BearerTokens, tokens=tokens)
    else:
        app.add_middleware(OwnPages, origins=config.cors_origins)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
    app.add_middleware(HostNames, names=host_names(config, tokens))
    app.add_middleware(Record, metrics=metrics, cross_origin=bool(config.cors_origins))
    return app


def host_names(config: ServeConfig, tokens: Tokens) -> list[str]:
    """The names it answers to; none means any. On loopback without tokens a browser could be made to call it."""
    if config.allowed_hosts:
        return config.allowed_hosts
    if tokens or not is_loopback(config.host):
        return []
    return sorted({"localhost", "127.0.0.1", "::1", config.host})


def _add_summaries(app: FastAPI, config: ServeConfig, scheduler: Scheduler, detect: Detect) -> None:
    batch_input, stream_input = input_models(config, scheduler.most_tokens)
    refusals = documented(400, 401, 403, 408, 413, 421, 422, 500, 503, 504)

    async def summaries(request: Request, body: SummaryInput) -> SummaryOutput:
        found = [detect(text) for text in body.texts]
        _note(request, body, found)
        seconds = body.deadline_s or config.deadline_s
        made = await answers(scheduler, request, body.texts, body.target, body.options.generation(), seconds)
        items = [
            SummaryItem(**{**message, "language": language}) for message, language in zip(made, found, strict=True)
        ]
        request.scope[NOTES]["output_tokens"] = sum(item.output_tokens for item in items)
        return SummaryOutput(model=scheduler.model.name, target=body.target, summaries=items)

    async def stream(request: Request, body: StreamInput) -> Response:
        """Server-sent events: `language` where it was detected, `piece` as the summary is written, `summary` at the
        end; or `error`, a problem, where it breaks off. A refusal before the first word is an ordinary answer."""
        found = detect(body.texts[0])
        _note(request, body, [found])
        seconds = body.deadline_s or config.deadline_s
        generation = {**body.options.generation(), "num_beams": 1}
        written = pieces(scheduler, request, body.texts[0], body.target, generation, seconds)
        first = await unless_left(request, anext(written))

        async def events() -> AsyncIterator[bytes]:
            async with contextlib.aclosing(written):
                if found is not None:
                    yield event("language", found.model_dump())
                try:
                    yield _told(first)
                    async for message in written:
                        yield _told(message)
                except Refusal as refusal:
                    yield event("error", refusal.problem.model_dump(exclude_none=True))

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    # FastAPI reads the annotations; these carry the operator's limits.
    summaries.__annotations__["body"] = batch_input
    stream.__annotations__["body"] = stream_input
    app.add_api_route(
        "/v1/summaries", summaries, methods=["POST"], responses=refusals, response_model_exclude_none=True,
        summary="Summarise one text or several",
    )  # fmt: skip
    written_out = {
        "description": "Events",
        "content": {"text/event-stream": {"schema": EVENT, "example": EVENTS}},
    }
    app.add_api_route(
        "/v1/summaries/stream", stream, methods=["POST"], responses={**refusals, 200: written_out},
        response_class=StreamingResponse, response_model=None, summary="Summarise one text, word by word",
    )  # fmt: skip


def _add_models(app: FastAPI, config: ServeConfig, scheduler: Scheduler) -> None:
    limits = Limits(
        max_body_bytes=config.max_body_bytes, max_texts=config.max_texts, max_characters=config.max_characters,
        max_new_tokens=scheduler.most_tokens, max_beams=config.max_beams, deadline_s=config.deadline_s,
    )  # fmt: skip

    def described(about: Mapping[str, Any]) -> Model:
        known = {name: about[name] for name in Model.model_fields if name in about}
        return Model(
            **{"id": scheduler.model.name, "revision": "", **known, "ready": scheduler.ready, "limits": limits}
        )

    @app.get("/v1/models", response_model_exclude_none=True, responses=documented(401, 421), summary="What is served")
    async def models() -> Models:
        return Models(data=[described(scheduler.described)])

    @app.post(
        "/v1/models/reload", response_model_exclude_none=True, responses=documented(401, 403, 409, 421, 500),
        summary="Load the model's directory anew; no request is dropped",
    )  # fmt: skip
    async def reload() -> Model:
        """The new weights load beside the old ones, so both need room, and take over between two batches. Where they do
        not load, the old ones keep working and the answer says why."""
        try:
            return described(await scheduler.reload())
        except MGLMError as error:
            raise Refusal(
                500, "reload_failed", f"The former weights keep working, for the new ones do not load: {error}."
            ) from None


def _add_health(app: FastAPI, scheduler: Scheduler, metrics: Metrics) -> None:
    @app.get("/healthz", response_model_exclude_none=True, summary="Is the process alive")
    async def healthz() -> Health:
        return Health(status="alive")

    @app.get(
        "/readyz", response_model_exclude_none=True, summary="Can it take requests",
        responses={503: {"model": Health}},
    )  # fmt: skip
    async def readyz(request: Request) -> Response:
        if scheduler.ready:
            return JSONResponse({"status": "ready"})
        why = "draining" if scheduler.draining else "the model is loading"
        return JSONResponse({"status": "not ready", "why": why}, 503, headers={"Retry-After": "5"})

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _told(message: Mapping[str, Any]) -> bytes:
    """A worker's message as an event of a stream."""
    data = {name: value for name, value in message.items() if name != "id"}
    return event("summary" if "summary" in message else "piece", data)


def _note(request: Request, body: SummaryInput, found: Sequence[Language | None]) -> None:
    """Numbers and codes for the log: nothing that a text says."""
    request.scope[NOTES].update(
        texts=len(body.texts),
        characters=sum(map(len, body.texts)),
        target=body.target,
        languages=sorted({language.code for language in found if language is not None}),
    )
