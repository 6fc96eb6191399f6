"""What a process counts: every metric by name, in one frozen object, rendered for Prometheus.

No metric has a tenant, a table or a key among its labels: `/metrics` is the operators' page, and a
tenant's names are its own (invariant I11); usage per tenant is reporting's. An increment costs
about 0.5 us, and finding the child by its labels three times as much: on a hot path keep the result
of `labels(...)`. What every request counts stands in plain integers, `metrics.operation(...)`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

import prometheus_client as prometheus
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from dstore.base.clock import NS_PER_S

CONTENT_TYPE: Final = prometheus.CONTENT_TYPE_LATEST  # of what `render` returns

Counter = prometheus.Counter
Gauge = prometheus.Gauge
Histogram = prometheus.Histogram

# From a cached read (0.25 ms) to the client's patience (10 s), about 2.5 times a step.
_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64)  # up to WRITE_BATCH_MAX


class OperationMetrics:
    """What is counted of one operation of one surface; plain integers, for the request path.

    Touched from the event loop only, so that it needs no locks.
    """

    __slots__ = ("_answers", "_received_bytes", "_seconds", "_sent_bytes", "_steps")

    def __init__(self) -> None:
        """Start at zero."""
        self._answers: dict[int, int] = {}  # by status; at most one a status code
        self._steps = [0] * (len(_SECONDS) + 1)  # answers within each step, the last is beyond all
        self._seconds = 0.0
        self._received_bytes = 0
        self._sent_bytes = 0

    def answered(
        self, status: int, seconds: float, *, received_bytes: int = 0, sent_bytes: int = 0
    ) -> None:
        """Count one answer, its time and the bytes of both bodies; about 0.4 us."""
        self._answers[status] = self._answers.get(status, 0) + 1
        self._steps[bisect_left(_SECONDS, seconds)] += 1
        self._seconds += seconds
        self._received_bytes += received_bytes
        self._sent_bytes += sent_bytes

    def add_to(self, families: "_RequestFamilies", names: list[str]) -> None:
        """Add the counts to the page, under the labels surface and operation."""
        for status, answers in sorted(self._answers.items()):
            families.requests.add_metric([*names, str(status)], answers)
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        families.request_seconds.add_metric(
            names, list(zip(bounds, accumulate(self._steps), strict=True)), self._seconds
        )
        families.request_bytes.add_metric(names, self._received_bytes)
        families.response_bytes.add_metric(names, self._sent_bytes)


class PeerMetrics:
    """What is counted of the calls of other components; plain integers, for the call's path.

    Touched from the event loop only, so that it needs no locks.
    """

    __slots__ = ("_at_work", "_since_ns", "calls", "frames_received", "frames_sent", "work_ns")

    def __init__(self) -> None:
        """Start at zero."""
        self.calls = 0
        self.frames_received = 0
        self.frames_sent = 0
        self.work_ns = 0  # of all calls, one beside the other, up to the latest begin or end
        self._at_work = 0
        self._since_ns = 0

    def began(self, now_ns: int) -> None:
        """Count a call that is not answered at once, by the monotonic clock."""
        self.work_ns += self._at_work * (now_ns - self._since_ns)
        self._at_work += 1
        self._since_ns = now_ns

    def ended(self, now_ns: int) -> None:
        """Count its end, whatever came of it."""
        self.work_ns += self._at_work * (now_ns - self._since_ns)
        self._at_work -= 1
        self._since_ns = now_ns


class ScrubMetrics:
    """What is counted of scrubs; plain integers, since they are few and touched by one event loop.

    `bytes_read` counts what primaries here had read, on all replicas; `oldest_s` is how long ago
    the scrub of the range was that waits for the next one the longest.
    """

    __slots__ = ("bytes_read", "damaged", "different", "oldest_s", "ranges", "repairs")

    def __init__(self) -> None:
        """Start at zero."""
        self.ranges = self.bytes_read = self.damaged = self.different = self.repairs = 0
        self.oldest_s = 0.0


def _no_lag() -> tuple[int, float, int]:
    return 0, 0.0, 0


class IndexMetrics:
    """What is counted of feeding global indexes; plain integers, touched by one event loop.

    `records` of logs, `items` looked at while indexes are filled, `rows` that indexes have
    taken of both, `repeated` sendings. `look` says how many records indexes are behind, for how
    many seconds, and how many ways to an index are lost.
    """

    __slots__ = ("items", "look", "records", "repeated", "rows")

    def __init__(self) -> None:
        """Start at zero."""
        self.records = self.items = self.rows = self.repeated = 0
        self.look: Callable[[], tuple[int, float, int]] = _no_lag


class _IndexCollector(Collector):
    """Put the counts of indexes on the page."""

    def __init__(self, counts: IndexMetrics) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        lag_records, lag_s, lost = counts.look()
        return (
            CounterMetricFamily(
                "dstore_index_records",
                "Records that global indexes were told.",
                value=counts.records,
            ),
            CounterMetricFamily(
                "dstore_index_items",
                "Entries looked at while global indexes are filled.",
                value=counts.items,
            ),
            CounterMetricFamily(
                "dstore_index_rows", "Rows that global indexes have taken.", value=counts.rows
            ),
            CounterMetricFamily(
                "dstore_index_repeated",
                "Times that rows had to be sent to an index again.",
                value=counts.repeated,
            ),
            GaugeMetricFamily(
                "dstore_index_lag_records",
                "Records that global indexes do not have yet.",
                value=lag_records,
            ),
            GaugeMetricFamily(
                "dstore_index_lag_seconds",
                "Since the index that is behind the longest was level with its range.",
                value=lag_s,
            ),
            GaugeMetricFamily(
                "dstore_index_lost",
                "Ranges whose changes an index can't be told any more.",
                value=lost,
            ),
        )


class ExpiryMetrics:
    """What is counted of items that expire; plain numbers, touched by one event loop.

    `expired` were removed, `spared` were changed at the last moment; `behind_s` is how long ago the
    first of those expired that are still there.
    """

    __slots__ = ("behind_s", "expired", "spared")

    def __init__(self) -> None:
        """Start at zero."""
        self.expired = self.spared = self.behind_s = 0


class SplitMetrics:
    """What is counted of splits of ranges; plain numbers, of a control process.

    `seconds` is how long those that are done took; `under_way` is of now.
    """

    __slots__ = ("abandoned", "begun", "done", "seconds", "under_way")

    def __init__(self) -> None:
        """Start at zero."""
        self.begun = self.done = self.abandoned = self.under_way = 0
        self.seconds = 0.0


class _SplitCollector(Collector):
    """Put the counts of splits on the page."""

    def __init__(self, counts: SplitMetrics) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        return (
            CounterMetricFamily(
                "dstore_splits_begun", "Splits of ranges begun.", value=counts.begun
            ),
            CounterMetricFamily("dstore_splits_done", "Ranges split.", value=counts.done),
            CounterMetricFamily(
                "dstore_splits_abandoned",
                "Splits that ended without one, since a primary changed meanwhile.",
                value=counts.abandoned,
            ),
            CounterMetricFamily(
                "dstore_split_seconds", "From begin to end of splits done.", value=counts.seconds
            ),
            GaugeMetricFamily(
                "dstore_splits_under_way", "Splits under way.", value=counts.under_way
            ),
        )


class _ScrubCollector(Collector):
    """Put the counts of scrubs on the page."""

    def __init__(self, counts: ScrubMetrics) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        return (
            CounterMetricFamily("dstore_scrubs", "Ranges scrubbed.", value=counts.ranges),
            CounterMetricFamily(
                "dstore_scrub_bytes", "Bytes read by scrubs.", value=counts.bytes_read
            ),
            CounterMetricFamily(
                "dstore_scrub_damaged", "Damaged replicas that scrubs found.", value=counts.damaged
            ),
            CounterMetricFamily(
                "dstore_scrub_different",
                "Entries that scrubs found not to be the same in all replicas.",
                value=counts.different,
            ),
            CounterMetricFamily(
                "dstore_scrub_repairs", "Replicas that were copied anew.", value=counts.repairs
            ),
            GaugeMetricFamily(
                "dstore_scrub_oldest_seconds",
                "Since the range was scrubbed whose scrub is the longest ago.",
                value=counts.oldest_s,
            ),
        )


class _ExpiryCollector(Collector):
    """Put the counts of items that expire on the page."""

    def __init__(self, counts: ExpiryMetrics) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        return (
            CounterMetricFamily(
                "dstore_items_expired", "Items removed since their time was over.", counts.expired
            ),
            CounterMetricFamily(
                "dstore_items_expiry_spared",
                "Items that a client changed just before they would have been removed.",
                counts.spared,
            ),
            GaugeMetricFamily(
                "dstore_items_expiry_behind_seconds",
                "Since the first of those items expired that are not removed yet.",
                counts.behind_s,
            ),
        )


class _PeerCollector(Collector):
    """Put the counts of calls on the page."""

    def __init__(self, counts: PeerMetrics) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        counts = self._counts
        frames = CounterMetricFamily(
            "dstore_peer_frames", "Frames that calls came in, or answers left in.", labels=("way",)
        )
        frames.add_metric(["received"], counts.frames_received)
        frames.add_metric(["sent"], counts.frames_sent)
        return (
            CounterMetricFamily(
                "dstore_peer_calls", "Calls of other components.", value=counts.calls
            ),
            frames,
            CounterMetricFamily(
                "dstore_peer_call_seconds",
                "Time that calls were at work; its rate is how many were at a time.",
                value=counts.work_ns / NS_PER_S,
            ),
        )


class _RequestFamilies:
    """The metrics of requests as the page shows them; made anew for each page."""

    def __init__(self) -> None:
        names = ("surface", "operation")
        self.requests = CounterMetricFamily(
            "dstore_requests", "Requests answered.", labels=(*names, "status")
        )
        self.request_seconds = HistogramMetricFamily(
            "dstore_request_seconds", "Time to the answer.", labels=names
        )
        self.request_bytes = CounterMetricFamily(
            "dstore_request_bytes", "Bytes of bodies received.", labels=names
        )
        self.response_bytes = CounterMetricFamily(
            "dstore_response_bytes", "Bytes of bodies sent.", labels=names
        )


class _RequestCollector(Collector):
    """Put the counts of every operation on the page."""

    def __init__(self, operations: Mapping[tuple[str, str], OperationMetrics]) -> None:
        self._operations = operations

    def collect(self) -> Iterable[Metric]:
        families = _RequestFamilies()
        for names, counts in sorted(self._operations.items()):
            counts.add_to(families, list(names))
        return (
            families.requests,
            families.request_seconds,
            families.request_bytes,
            families.response_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Every metric of the process; the help text of each stands in `create_metrics`."""

    requests_in_flight: Gauge
    requests_refused: Counter  # reason

    writes: Counter
    write_batch: Histogram
    async_queue_depth: Gauge

    corruptions: Counter  # place: main | wal | header
    files_open: Gauge
    disk_free_bytes: Gauge

    rewrites_pending: Gauge
    certificate_seconds: Gauge  # role

    topology_revision: Gauge
    topology_problems: Gauge
    topology_values_refused: Counter

    proxy_retries: Counter
    proxy_failovers_hidden: Counter
    proxy_waiting: Gauge
    proxy_refused: Counter
    proxy_hedges: Counter
    proxy_hedges_won: Counter

    loop_lag_seconds: Gauge
    collector_longest_seconds: Gauge
    tasks_failed: Counter

    peers: PeerMetrics
    scrubs: ScrubMetrics
    indexes: IndexMetrics
    expiry: ExpiryMetrics
    splits: SplitMetrics

    registry: prometheus.CollectorRegistry = field(repr=False)
    _operations: dict[tuple[str, str], OperationMetrics] = field(repr=False)

    def operation(self, surface: str, operation: str) -> OperationMetrics:
        """Return the counts of one operation; ask once, where its route is made."""
        return self._operations.setdefault((surface, operation), OperationMetrics())

    def count_batch(self, writes: int) -> None:
        """Count one commit of so many writes."""
        self.writes.inc(writes)
        self.write_batch.observe(writes)

    def render(self) -> bytes:
        """Return the page that Prometheus reads, of type `CONTENT_TYPE`."""
        return prometheus.generate_latest(self.registry)


def create_metrics() -> Metrics:
    """Make the metrics of one process, on a registry of their own, all at zero."""
    registry = prometheus.CollectorRegistry()
    prometheus.ProcessCollector(registry=registry)  # memory, processor time, open descriptors

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"dstore_{name}", text, labels, registry=registry)

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"dstore_{name}", text, labels, registry=registry)

    def histogram(name: str, text: str, *, steps: tuple[float, ...]) -> Histogram:
        return Histogram(f"dstore_{name}", text, registry=registry, buckets=steps)

    operations: dict[tuple[str, str], OperationMetrics] = {}
    registry.register(_RequestCollector(operations))
    peers, scrubs = PeerMetrics(), ScrubMetrics()
    indexes, expiry, splits = IndexMetrics(), ExpiryMetrics(), SplitMetrics()
    registry.register(_PeerCollector(peers))
    registry.register(_ScrubCollector(scrubs))
    registry.register(_IndexCollector(indexes))
    registry.register(_ExpiryCollector(expiry))
    registry.register(_SplitCollector(splits))
    return Metrics(
        registry=registry,
        _operations=operations,
        peers=peers,
        scrubs=scrubs,
        indexes=indexes,
        expiry=expiry,
        splits=splits,
        requests_in_flight=gauge("requests_in_flight", "Requests being answered."),
        requests_refused=counter(
            "requests_refused", "Requests refused before they were read.", "reason"
        ),
        writes=counter("writes", "Writes that ranges evaluated, refused ones too."),
        write_batch=histogram("write_batch", "Writes in one transaction.", steps=_BATCH),
        async_queue_depth=gauge("async_queue_depth", "Accepted requests not yet done."),
        corruptions=counter(
            "corruptions", "Stored bytes that failed authentication, by place.", "place"
        ),
        files_open=gauge("files_open", "Range files open."),
        disk_free_bytes=gauge("disk_free_bytes", "Free bytes under the data directory."),
        rewrites_pending=gauge(
            "rewrites_pending", "Range files whose keys do not need control's share yet."
        ),
        certificate_seconds=gauge(
            "certificate_seconds", "Until this component's certificate ends.", "role"
        ),
        topology_revision=gauge("topology_revision", "Revision of the coordinator in the view."),
        topology_problems=gauge("topology_problems", "Values kept out of the view now."),
        topology_values_refused=counter(
            "topology_values_refused", "Values that were kept out of the view."
        ),
        proxy_retries=counter("proxy_retries", "Calls of nodes made once more."),
        proxy_failovers_hidden=counter(
            "proxy_failovers_hidden", "Calls answered where a range was after it had moved."
        ),
        proxy_waiting=gauge("proxy_waiting", "Calls that wait for a range or a node to come back."),
        proxy_refused=counter(
            "proxy_refused", "Calls refused since too many waited, or hung at one node."
        ),
        proxy_hedges=counter("proxy_hedges", "Reads asked of a further replica: one was late."),
        proxy_hedges_won=counter(
            "proxy_hedges_won", "Reads answered by another replica than was asked first."
        ),
        loop_lag_seconds=gauge("loop_lag_seconds", "Latest delay of the event loop."),
        collector_longest_seconds=gauge("collector_longest_seconds", "Longest stop for cycles."),
        tasks_failed=counter("tasks_failed", "Background tasks that ended with an error."),
    )
