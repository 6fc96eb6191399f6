"""What a process counts: every metric by name, in one frozen object, rendered for Prometheus.

No metric has a tenant, a table or a key among its labels: `/metrics` is the operators' page, and a
tenant's names are its own (invariant I11); usage per tenant is reporting's. On a hot path use a
child that was bound beforehand (`metrics.operation(...)`, or keep the result of `labels(...)`):
an increment costs about 0.5 us, and finding the child by its labels three times as much.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import prometheus_client as prometheus

CONTENT_TYPE: Final = prometheus.CONTENT_TYPE_LATEST  # of what `render` returns

Counter = prometheus.Counter
Gauge = prometheus.Gauge
Histogram = prometheus.Histogram

# From a cached read (0.25 ms) to the client's patience (10 s), about 2.5 times a step.
_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64)  # up to WRITE_BATCH_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationMetrics:
    """The children of one operation of one surface, bound once, for the request path."""

    seconds: Histogram
    answers: Callable[[int], Counter]

    def answered(self, status: int, seconds: float) -> None:
        """Count one answer and its time; about 2 us."""
        self.answers(status).inc()
        self.seconds.observe(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Every metric of the process; the help text of each stands in `create_metrics`."""

    requests: Counter  # surface, operation, status
    request_seconds: Histogram  # surface, operation
    requests_in_flight: Gauge
    requests_refused: Counter  # reason
    request_bytes: Counter
    response_bytes: Counter
    authentications_failed: Counter  # reason

    reads: Counter  # place: loop | thread
    writes: Counter
    writes_refused: Counter  # reason
    write_batch: Histogram
    commit_seconds: Histogram
    write_queue_depth: Gauge
    async_queue_depth: Gauge

    corruptions: Counter  # place: main | wal | header
    checkpoints: Counter
    checkpoint_seconds: Histogram
    files_open: Gauge
    wal_bytes: Gauge
    disk_free_bytes: Gauge

    loop_lag_seconds: Gauge
    tasks_failed: Counter

    registry: prometheus.CollectorRegistry = field(repr=False)
    _operations: dict[tuple[str, str], OperationMetrics] = field(repr=False, default_factory=dict)

    def operation(self, surface: str, operation: str) -> OperationMetrics:
        """Return the bound children of one operation; ask once, where its route is made."""
        name = (surface, operation)
        if name not in self._operations:
            self._operations[name] = OperationMetrics(
                seconds=self.request_seconds.labels(surface, operation),
                answers=_by_status(self.requests, surface, operation),
            )
        return self._operations[name]

    def render(self) -> bytes:
        """Return the page that Prometheus reads, of type `CONTENT_TYPE`."""
        return prometheus.generate_latest(self.registry)


def _by_status(requests: Counter, surface: str, operation: str) -> Callable[[int], Counter]:
    children: dict[int, Counter] = {}  # at most one a status code

    def child(status: int) -> Counter:
        found = children.get(status)
        if found is None:
            found = children[status] = requests.labels(surface, operation, str(status))
        return found

    return child


def create_metrics() -> Metrics:
    """Make the metrics of one process, on a registry of their own, all at zero."""
    registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)  # memory, processor time, open descriptors

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"dstore_{name}", text, labels, registry=registry)

    def gauge(name: str, text: str) -> Gauge:
        return Gauge(f"dstore_{name}", text, registry=registry)

    def histogram(name: str, text: str, *labels: str, steps: tuple[float, ...]) -> Histogram:
        return Histogram(f"dstore_{name}", text, labels, registry=registry, buckets=steps)

    return Metrics(
        registry=registry,
        requests=counter("requests", "Requests answered.", "surface", "operation", "status"),
        request_seconds=histogram(
            "request_seconds", "Time to the answer.", "surface", "operation", steps=_SECONDS
        ),
        requests_in_flight=gauge("requests_in_flight", "Requests being answered."),
        requests_refused=counter(
            "requests_refused", "Requests refused before they were read.", "reason"
        ),
        request_bytes=counter("request_bytes", "Bytes of bodies received."),
        response_bytes=counter("response_bytes", "Bytes of bodies sent."),
        authentications_failed=counter(
            "authentications_failed", "Requests whose credentials failed.", "reason"
        ),
        reads=counter("reads", "Entries read, on the event loop or in a thread.", "place"),
        writes=counter("writes", "Writes made durable."),
        writes_refused=counter("writes_refused", "Writes refused and not done.", "reason"),
        write_batch=histogram("write_batch", "Writes in one transaction.", steps=_BATCH),
        commit_seconds=histogram("commit_seconds", "Time of one durable commit.", steps=_SECONDS),
        write_queue_depth=gauge("write_queue_depth", "Writes waiting for a batch."),
        async_queue_depth=gauge("async_queue_depth", "Accepted requests not yet done."),
        corruptions=counter(
            "corruptions", "Stored bytes that failed authentication, by place.", "place"
        ),
        checkpoints=counter("checkpoints", "Logs folded into their files."),
        checkpoint_seconds=histogram(
            "checkpoint_seconds", "Time of one checkpoint.", steps=_SECONDS
        ),
        files_open=gauge("files_open", "Range files open."),
        wal_bytes=gauge("wal_bytes", "Bytes in the logs of all open files."),
        disk_free_bytes=gauge("disk_free_bytes", "Free bytes under the data directory."),
        loop_lag_seconds=gauge("loop_lag_seconds", "Latest delay of the event loop."),
        tasks_failed=counter("tasks_failed", "Background tasks that ended with an error."),
    )
