"""`mglm serve`: everything that can be wrong is checked, then the service runs until it is told to stop."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvicorn

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY
from serve.app import build_app
from serve.config import ServeConfig
from serve.languages import Detect, language_detection
from serve.logs import FIELDS, set_up_json_logging
from serve.metrics import Metrics
from serve.problems import Refusal
from serve.scheduler import Scheduler
from serve.server import FLUSH_S, DrainingServer, prompt_protocol
from serve.tokens import Tokens, read_tokens

HF = "hf/1"
BACKLOG = 2048
PAPERS_LONGEST_SUMMARY = 200  # tokens (section 4.2), where the export says nothing

log = get_logger("serve")


def run(model: Path, config: ServeConfig) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what it accepted.

    Raises:
        MGLMError: no export there, no tokens where some are needed, the address is taken, or the model does not load.
    """
    most_tokens = config.max_new_tokens or exported_most_tokens(model)
    tokens = read_tokens(config)
    detect = language_detection(config)
    listener = listen(config.host, config.port)
    set_up_json_logging()
    try:
        asyncio.run(serve(model, config, most_tokens, tokens, detect, listener))
    finally:
        listener.close()


async def serve(
    model: Path, config: ServeConfig, most_tokens: int, tokens: Tokens, detect: Detect, listener: socket.socket
) -> None:
    """The service on one event loop: uvicorn, and beside it the scheduler with its worker."""
    loop = asyncio.get_running_loop()
    metrics = Metrics()
    scheduler = Scheduler(model, config, most_tokens, metrics)
    app = build_app(config, scheduler, metrics, tokens, detect)
    tasks: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def stop() -> None:
        await scheduler.drain()
        server.finish()

    async def reload() -> None:
        with contextlib.suppress(MGLMError, Refusal):  # both stand in the log
            await scheduler.reload()

    server = DrainingServer(
        uvicorn.Config(
            app, http=prompt_protocol(config, metrics), ws="none", lifespan="off", loop="asyncio", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=FLUSH_S,
        ),
        on_stop=lambda: loop.call_soon_threadsafe(begin, stop()),
    )  # fmt: skip
    loop.add_signal_handler(signal.SIGHUP, lambda: begin(reload()))
    work = loop.create_task(scheduler.run())
    work.add_done_callback(lambda _: server.finish())  # without a model there is nothing to serve
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info(
        "listening", extra={FIELDS: {"url": f"http://{shown}:{port}/", "tokens": bool(tokens), "pid": os.getpid()}}
    )
    try:
        await server.serve(sockets=[listener])
        if work.done():
            work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    log.info("stopped")


def exported_most_tokens(model: Path) -> int:
    """The longest summary by the export's own settings.

    Raises:
        MGLMError: the directory holds no export.
    """
    if not (model / "config.json").is_file():
        found = "no config.json" if model.is_dir() else "no such directory"
        raise MGLMError(f"model {model}", found=found, expected=HF, action=f"run {MADE_BY[HF]}")
    try:
        settings = json.loads((model / "generation_config.json").read_text("utf-8"))
        return int(settings.get("max_new_tokens") or PAPERS_LONGEST_SUMMARY)
    except FileNotFoundError:
        return PAPERS_LONGEST_SUMMARY
    except (ValueError, AttributeError):
        raise MGLMError(
            f"{model / 'generation_config.json'}", found="no JSON object", action="export it again"
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything slow begins.

    Raises:
        MGLMError: no such address here, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name at all, as `a..b`
        raise _not_here(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _not_here(host, port, error) from None
    return listener


def _not_here(host: str, port: int, error: OSError | UnicodeError) -> MGLMError:
    found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return MGLMError(f"address {host}:{port}", found=found, action="choose another --host or --port")
