"""A service running as a process, as users run it, with its log at hand. For the tests here and the drills."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0  # for a loaded machine; nothing here waits that long otherwise


class Service:
    """`mglm serve` on a free port. Settings are fields of [serve]; its clients send `token`."""

    def __init__(
        self, model: Path, environment: Mapping[str, str] | None = None, token: str = "", **settings: Any
    ) -> None:
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        overrides = [f"--set=serve.{name}={json.dumps(value)}" for name, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mglm", "serve", "--model", str(model), "--port", "0", *overrides],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = str(self.wait_for("listening")["url"]).rstrip("/")
        self._own_client = self.client()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self.lines.append("")  # the end
            self._news.notify_all()

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event with these fields."""
        lines = [json.loads(line) for line in list(self.lines) if line and not line.startswith("error: ")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def wait_for(self, event: str, times: int = 1, **fields: Any) -> dict[str, Any]:
        """The log line of an event with these fields, once it came so often."""
        with self._news:
            told = self._news.wait_for(
                lambda: len(self.events(event, **fields)) >= times or "" in self.lines, PATIENCE_S
            )
        found = self.events(event, **fields)
        if not told or len(found) < times:
            raise AssertionError(f"no {event!r} in the log:\n" + "".join(self.lines[-40:]))
        return found[times - 1]

    def ready(self) -> "Service":
        self.wait_for("worker ready")
        return self

    @property
    def worker_pid(self) -> int:
        return int(self.events("worker ready")[-1]["pid"])

    def pause_worker(self) -> None:
        """The model takes as long as the test wants: until `resume_worker`. Waits for it to have nothing to do: stopped
        between an answer and its end of batch, it would keep the next text from being given to it."""
        while self.metric("mglm_running_texts"):
            assert self.process.poll() is None, "the service ended"
        os.kill(self.worker_pid, signal.SIGSTOP)

    def resume_worker(self) -> None:
        os.kill(self.worker_pid, signal.SIGCONT)

    def client(self, **settings: Any) -> httpx.Client:
        """Sends the token, unless other `headers` are given."""
        given = {"headers": self.headers, **settings}
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False, **given)

    def metric(self, name: str) -> float:
        """The value of a series, e.g. `mglm_refusals_total{reason="queue_full"}`; 0 where it has not been counted."""
        lines = self._own_client.get("/metrics").raise_for_status().text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self._reader.join()
            self._own_client.close()
            if self.process.stderr is not None:
                self.process.stderr.close()
