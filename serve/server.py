"""uvicorn with two habits of ours: a request must arrive in time, and SIGTERM first lets accepted work finish."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.log import get_logger
from serve.config import ServeConfig
from serve.logs import FIELDS
from serve.metrics import Metrics
from serve.problems import Refusal

FLUSH_S = 5  # for answers that are on their way when everything is done

log = get_logger("serve")


class PromptProtocol(H11Protocol):
    """HTTP/1.1 with a limit on connections, and on the time in which a whole request must arrive: uvicorn has only the
    keep-alive timeout between requests."""

    limits: ServeConfig
    metrics: Metrics
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        most = self.limits.max_connections
        if len(self.connections) > most:
            self._refuse(503, "connections", f"{most} connections are open, which is the limit.", most)
            return
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        if self._clock is None:
            self._start_clock()
        super().data_received(data)
        arrived_wholly = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        between_requests = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if arrived_wholly or between_requests:
            self._stop_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(self.limits.receive_timeout_s, self._out_of_time)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _out_of_time(self) -> None:
        self._clock = None
        limit_s = self.limits.receive_timeout_s
        self._refuse(408, "receive_timeout", f"The request did not arrive within {limit_s:g} s.", limit_s)

    def _refuse(self, status: int, reason: str, detail: str, limit: float) -> None:
        """Answers without the application, if nothing was answered yet, and closes."""
        if self.transport.is_closing():
            return
        self.metrics.refusals.labels(reason).inc()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            refusal = Refusal(status, reason, detail, limit=limit, headers={"Connection": "close", "Retry-After": "5"})
            response = refusal.response({})
            head = h11.Response(status_code=status, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def prompt_protocol(limits: ServeConfig, metrics: Metrics) -> type[PromptProtocol]:
    """The class for uvicorn, which makes one for each connection."""
    return type("Protocol", (PromptProtocol,), {"limits": limits, "metrics": metrics})


class DrainingServer(uvicorn.Server):
    """Hands the first SIGTERM or SIGINT to `on_stop` and keeps answering; the second one ends it at once."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], Any]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._stopping = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stopping:
            self.should_exit = self.force_exit = True
            return
        self._stopping = True
        log.info("stop requested", extra={FIELDS: {"signal": signal.Signals(sig).name}})
        self._on_stop()

    def finish(self) -> None:
        """Everything is answered: end, whether or not a signal began it."""
        self.should_exit = True
