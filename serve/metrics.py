"""What Prometheus reads at /metrics. One registry per service, so that two in a process do not share counts."""

from collections import deque
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
_BATCHES_REMEMBERED = 20


class Metrics:
    """Names follow Prometheus' habits: base units, `_total` for counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "mglm_requests", "Answered requests.", ["route", "status"], registry=registry
        )  # fmt: skip
        self.latency = Histogram(
            "mglm_request_seconds", "From the request's head to the answer's end.", ["route"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.refusals = Counter("mglm_refusals", "Requests not served, by reason.", ["reason"], registry=registry)
        self.queue_wait = Histogram(
            "mglm_queue_wait_seconds", "How long a text waited for the model.", buckets=_SECONDS, registry=registry
        )
        self.batch_texts = Histogram(
            "mglm_batch_texts", "Texts generated together.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self.batch_seconds = Histogram(
            "mglm_batch_seconds", "The model's time for a batch.", buckets=_SECONDS, registry=registry
        )
        self.tokens = Counter("mglm_tokens", "Tokens read and written.", ["direction"], registry=registry)
        self.dropped = Counter(
            "mglm_dropped_texts", "Texts nobody waited for any more.", ["where"], registry=registry
        )  # fmt: skip
        self.worker_starts = Counter("mglm_worker_starts", "Workers that became ready.", registry=registry)
        self.worker_deaths = Counter("mglm_worker_deaths", "Workers that died with or without work.", registry=registry)
        self.reloads = Counter("mglm_reloads", "Reloads of the model.", ["outcome"], registry=registry)
        self.queue_texts = Gauge("mglm_queue_texts", "Texts that wait for the model.", registry=registry)
        self.running_texts = Gauge("mglm_running_texts", "Texts the model works on.", registry=registry)
        self.ready = Gauge("mglm_ready", "1 while a worker is ready and nothing drains.", registry=registry)

    def watch(self, queued: Callable[[], float], running: Callable[[], float], ready: Callable[[], float]) -> None:
        """Gauges are read when Prometheus asks."""
        self.queue_texts.set_function(queued)
        self.running_texts.set_function(running)
        self.ready.set_function(ready)


class Throughput:
    """Texts per second of the last batches; what Retry-After is computed from."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, float]] = deque(maxlen=_BATCHES_REMEMBERED)

    def add(self, texts: int, seconds: float) -> None:
        self._batches.append((texts, seconds))

    def texts_per_s(self) -> float | None:
        """None until something was measured."""
        seconds = sum(seconds for _, seconds in self._batches)
        return sum(texts for texts, _ in self._batches) / seconds if seconds else None
