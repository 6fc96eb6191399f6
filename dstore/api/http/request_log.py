"""Which requests get a line in the log, and what is said of those that failed.

A line names the route's pattern, never the path: the ids in it are data.
"""

from typing import Final

from dstore.base.clock import NS_PER_MS, NS_PER_S
from dstore.base.logging import get_logger
from dstore.base.metrics import Metrics
from dstore.model.errors import Corrupt

_log: Final = get_logger(__name__)

_SLOW_NS: Final = NS_PER_S  # a request that takes longer is worth a line
_FAILED: Final = 500  # the least status that is the server's fault
_CHOICES: Final = frozenset({"none", "errors", "all"})


class RequestLog:
    """Log requests as the setting `log.requests` says."""

    __slots__ = ("_metrics", "_surface", "_which")

    def __init__(self, *, surface: str, which: str, metrics: Metrics) -> None:
        """Log `which` requests ("none", "errors", "all") of a surface."""
        assert which in _CHOICES, which
        self._surface = surface
        self._which = which
        self._metrics = metrics

    def of_surface(self, surface: str) -> "RequestLog":
        """Make the same log for another surface."""
        return RequestLog(surface=surface, which=self._which, metrics=self._metrics)

    def of_probes(self) -> "RequestLog":
        """Make the log for what machines ask every few seconds, where a 503 is a plain answer."""
        which = "all" if self._which == "all" else "none"
        return RequestLog(surface=self._surface, which=which, metrics=self._metrics)

    def wants(self, status: int, took_ns: int) -> bool:
        """Tell whether a request gets a line."""
        if self._which == "errors":
            return status >= _FAILED or took_ns > _SLOW_NS
        return self._which == "all"

    def write(
        self,
        *,
        method: str,
        route: str,
        operation: str,
        status: int,
        took_ns: int,
        body_bytes: int,
    ) -> None:
        """Write a request's line; its id stands in every line of its task."""
        write = _log.error if status >= _FAILED else _log.info
        write(
            "request",
            surface=self._surface,
            method=method,
            route=route,
            operation=operation,
            status=status,
            duration_ms=round(took_ns / NS_PER_MS, 3),
            body_bytes=body_bytes,
        )

    def failed(self, error: BaseException, *, route: str, operation: str) -> None:
        """Tell of an error that is the server's own, whatever `which` says.

        Damaged storage is named with its place and counted; anything else unexpected is logged with
        its frames, and without its message, which may quote what it complains about.
        """
        if isinstance(error, Corrupt):
            self._metrics.corruptions.labels(_part_of_file(error.where)).inc()
            _log.error(
                "storage_damaged",
                file=error.file,
                where=error.where,
                route=route,
                operation=operation,
            )
        else:
            _log.error(
                "request_failed",
                surface=self._surface,
                route=route,
                operation=operation,
                exc_info=error,
            )


def _part_of_file(where: str) -> str:
    """Name the part for the metric's label, which has three values: main, wal, header."""
    words = where.lower().split()
    if "wal" in words:
        return "wal"
    return "header" if "header" in words else "main"
