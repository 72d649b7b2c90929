"""The service's end of a worker process: start it, give it a batch, hear its answers, let it go or kill it."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from core.errors import MGLMError
from core.log import get_logger
from serve.config import ServeConfig
from serve.logs import FIELDS
from serve.waiting import Job

LONGEST_LINE_BYTES = 16 * 1024 * 1024  # of the worker's answers; asyncio's own limit is 64 KiB
LONGEST_NOTE = 300  # characters of a line that a library logs
LEAVES_WITHIN_S = 10.0

log = get_logger("serve")


class WorkerDiedError(Exception):
    """The process ended, or stopped answering and was killed."""


class Worker:
    """One process with one model. `described` is what it said of itself when it was ready."""

    def __init__(self, process: asyncio.subprocess.Process, described: Mapping[str, Any]) -> None:
        self._process, self.described = process, described
        self._log = asyncio.get_running_loop().create_task(self._pass_on_log())
        self.pid = process.pid

    @classmethod
    async def start(cls, model: Path, config: ServeConfig, most_tokens: int) -> Self:
        """A worker that has loaded the model and warmed up; `most_tokens` of a summary are written at most.

        Raises:
            MGLMError: it could not be started or load the model, or died while it tried.
        """
        command = [sys.executable, "-m", "serve.worker", str(model)]
        options: dict[str, str | int | None] = {"--device": config.device, "--precision": config.precision}
        options |= {"--long-articles": config.long_articles, "--max-passages": config.max_passages}
        options |= {"--max-batch": config.max_batch, "--max-beams": config.max_beams, "--max-new-tokens": most_tokens}
        for option, value in options.items():
            if value is not None:
                command += [option, str(value)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE_BYTES,
                start_new_session=True,  # Ctrl-C is for the service, which lets its worker finish
            )
        except OSError as error:  # no memory, process or open file is left just now
            raise MGLMError("the worker process", found=str(error), expected="one that starts") from None
        worker = cls(process, {})
        try:
            message = await worker._hear()
        except WorkerDiedError:
            raise MGLMError(
                f"the worker with model {model}", found=f"ended with status {process.returncode}",
                expected="a loaded model", action="see the log lines above; memory is the usual cause",
            ) from None  # fmt: skip
        except BaseException:
            await worker.kill()
            raise
        if "failed" in message:
            await process.wait()
            raise MGLMError(message["failed"])
        worker.described = message["ready"]
        log.info("worker ready", extra={FIELDS: {"pid": process.pid, **worker.described}})
        return worker

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> None:
        """Returns when the process is gone."""
        await self._process.wait()

    async def run(self, batch: Sequence[Job], answer: Callable[[Job, Mapping[str, Any]], None]) -> float:
        """Has the batch generated; `answer` is told what there is of each job. Returns the seconds the worker took.

        Raises:
            WorkerDiedError: before it was done. Jobs that got their answer have it.
        """
        texts = [
            {"id": job.id, "text": job.text, "target": job.target, "generation": dict(job.generation)} for job in batch
        ]
        await self._tell({"batch": texts, "stream": batch[0].stream})
        jobs = {job.id: job for job in batch}
        while True:
            message = await self._hear()
            if "done" in message:
                return float(message["done"])
            answer(jobs[message["id"]], message)

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """Tells it that nobody waits for these any more; it stops at its next token once that holds for all that is
        generated together."""
        with contextlib.suppress(WorkerDiedError):
            await self._tell({"cancel": [job.id for job in jobs]})

    async def leave(self) -> None:
        """Lets it end by itself once idle; kills it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), LEAVES_WITHIN_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _pass_on_log(self) -> None:
        """The worker's own lines as they are; what a library writes there becomes one, so that all are JSON."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if line.startswith(b"{"):
                sys.stderr.write(line.decode("utf-8", "replace"))
            else:
                text = line.decode("utf-8", "replace").strip()
                log.info("a library of the worker wrote", extra={FIELDS: {"line": text[:LONGEST_NOTE]}})

    async def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode("ascii") + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerDiedError from None

    async def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            await self._process.wait()
            raise WorkerDiedError
        message: dict[str, Any] = json.loads(line)
        return message
