"""What the process has taken on at this moment, and what it refuses because of it.

One `Admission` is shared by every surface of a process, since they share its memory. It is touched
from the event loop only, so that plain integers do.
"""

from dstore.base.limits import (
    BODY_BYTES_IN_FLIGHT_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    RETRY_AFTER_MS,
    SMALL_BODIES_SHARE,
)
from dstore.base.metrics import Metrics
from dstore.model.errors import Unavailable, UnavailableKind


class Admission:
    """Count requests and the bytes of their bodies, and refuse what goes beyond the bounds."""

    __slots__ = (
        "_metrics",
        "body_bytes",
        "body_bytes_max",
        "is_draining",
        "large_body_bytes_max",
        "requests",
        "requests_max",
    )

    def __init__(
        self,
        metrics: Metrics,
        *,
        requests_max: int = REQUESTS_IN_FLIGHT_MAX,
        body_bytes_max: int = BODY_BYTES_IN_FLIGHT_MAX,
    ) -> None:
        """Start with nothing taken on.

        Args:
            metrics: counts the refused.
            requests_max: requests being answered at a time, all surfaces together, >= 1.
            body_bytes_max: bytes of bodies held for them at a time, >= 1.
        """
        self._metrics = metrics
        self.requests_max = requests_max
        self.body_bytes_max = body_bytes_max
        self.large_body_bytes_max = body_bytes_max - body_bytes_max // SMALL_BODIES_SHARE
        self.requests = 0
        self.body_bytes = 0
        self.is_draining = False
        metrics.requests_in_flight.set_function(lambda: self.requests)

    @property
    def is_busy(self) -> bool:
        """Tell whether `check_request` would refuse."""
        return self.is_draining or self.requests >= self.requests_max

    def drain(self) -> None:
        """Refuse every request from now on, except those that are vital."""
        self.is_draining = True

    def check_request(self) -> None:
        """Refuse one more request if need be; who goes on counts it in `requests`.

        Raises: Unavailable (draining, overloaded).
        """
        if self.is_draining:
            self._metrics.requests_refused.labels("draining").inc()
            raise Unavailable(
                UnavailableKind.DRAINING,
                "The server is about to stop; send the request again, to another one if you can.",
                retry_after_ms=1_000,
            )
        if self.requests >= self.requests_max:
            self._metrics.requests_refused.labels("requests_in_flight").inc()
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "The server has as many requests at hand as it takes; wait, then retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def reserve_body(self, bytes_count: int, *, is_large: bool = False) -> None:
        """Take on bytes of a body; `release_body` gives them back.

        Raises: see `check_body`.
        """
        self.check_body(bytes_count, is_large=is_large)
        self.body_bytes += bytes_count

    def check_body(self, bytes_count: int, *, is_large: bool = False) -> None:
        """Refuse bytes of a body for which there is no room; the large ones leave some to others.

        Raises: Unavailable (overloaded).
        """
        bytes_max = self.large_body_bytes_max if is_large else self.body_bytes_max
        if self.body_bytes + bytes_count > bytes_max:
            self._metrics.requests_refused.labels("body_bytes_in_flight").inc()
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "The server holds as many bodies as it has room for; wait, then retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def release_body(self, bytes_count: int) -> None:
        """Give back what `reserve_body` took on."""
        self.body_bytes -= bytes_count
        assert self.body_bytes >= 0
