"""Why a request was not served: one shape for every refusal (RFC 9457, application/problem+json), in words.

A problem never quotes the request: it may be logged, and it may be shown.
"""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse
from starlette.types import Scope

MEDIA_TYPE = "application/problem+json"
REASON = "mglm.reason"  # where a request's scope keeps the reason, for metrics and log


class Problem(BaseModel):
    """The body of every answer with a status of 400 and more."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank", "title": "Service Unavailable", "status": 503, "reason": "queue_full",
                    "detail": "64 texts wait already, which is the limit. Try again in 12 s.", "limit": 64,
                }
            ]
        }
    )  # fmt: skip

    type: str = "about:blank"
    title: str
    status: int
    reason: str
    detail: str
    limit: int | float | None = None


class Refusal(Exception):  # noqa: N818  # an answer like others
    """Raised anywhere while a request is handled; becomes its answer. `reason` is a word that metrics count by."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        limit: float | None = None,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = Problem(
            title=HTTPStatus(status).phrase, status=status, reason=reason, detail=detail, limit=limit
        )
        self.headers = {"Cache-Control": "no-store", **(headers or {})}
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)

    def response(self, scope: Scope) -> JSONResponse:
        """The answer; notes the reason in `scope` for metrics and log."""
        scope[REASON] = self.reason
        body: dict[str, Any] = self.problem.model_dump(exclude_none=True)
        return JSONResponse(body, self.problem.status, headers=self.headers, media_type=MEDIA_TYPE)
