"""Every error that a caller can react to.

    DStoreError
    ├── Refused          the client is wrong; `kind` is what sort of wrong, the message what to do
    ├── ConditionFailed  a condition that the client stated is false; nothing was written
    ├── Unavailable      not now, and definitely nothing was written; may be retried
    │   └── NotMine      the range that was asked for is not here: find it again, then retry
    ├── Unknown          the write may have happened; only an idempotent retry or a read can tell
    └── Corrupt          stored bytes fail authentication; they are never taken for data

A type exists only because somebody reacts to it differently; texts are fields, not classes. There
is no HTTP status here: each surface under `api` maps these to its own wire.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from dstore.base.limits import RETRY_AFTER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_EXCERPT_CHARS = 40


class RefusalKind(StrEnum):
    """The ways in which a request can be wrong."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    COLLECTION_FULL = "collection_full"  # of one partition key in a table with local indexes
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"


class UnavailableKind(StrEnum):
    """The reasons why a correct request cannot be served now."""

    OVERLOADED = "overloaded"
    NO_SPACE = "no_space"
    LOCKED = "locked"
    DRAINING = "draining"
    MOVED = "moved"
    UNREACHABLE = "unreachable"  # what is needed for it, a node or a database


class DStoreError(Exception):
    """The root of dStore's own errors; `message` is a sentence fit for a client to read."""

    def __init__(self, message: str) -> None:
        """Keep the sentence; it never holds a secret, nor a stored value at length."""
        super().__init__(message)
        self.message = message


class Refused(DStoreError):
    """The client is wrong, and will be wrong again if it retries unchanged."""

    def __init__(self, kind: RefusalKind, message: str) -> None:
        """Refuse with a sentence that says what to do instead."""
        super().__init__(message)
        self.kind = kind


class ConditionFailed(DStoreError):
    """A condition of the request (`If-Match`, a condition expression) is false."""

    def __init__(
        self,
        message: str = "The condition of the request is false; read the entry again and retry.",
        *,
        previous: Mapping[str, Any] | None = None,
    ) -> None:
        """Carry the item as it was found, for the callers that asked to see it.

        Args:
            message: a sentence for the client.
            previous: the stored item in wire form (`model.values`), None if there is none.
        """
        super().__init__(message)
        self.previous = previous


class Unavailable(DStoreError):
    """The request cannot be served now; definitely nothing was written."""

    def __init__(
        self, kind: UnavailableKind, message: str, *, retry_after_ms: int | None = None
    ) -> None:
        """Say why, and when a retry makes sense.

        Args:
            kind: what is missing.
            message: a sentence for the client.
            retry_after_ms: a hint in milliseconds, > 0; None when waiting alone will not help.
        """
        assert retry_after_ms is None or retry_after_ms > 0
        super().__init__(message)
        self.kind = kind
        self.retry_after_ms = retry_after_ms


class NotMine(Unavailable):
    """The range is not here, or not in the epoch that the caller knows; nothing was done.

    The caller looks where the range is now and asks there; a client never has to.
    """

    def __init__(self, range_id: str | None, epoch: int = 0) -> None:
        """Name the range.

        Args:
            range_id: the range's UUID; None if no range of the key is known.
            epoch: the newest epoch of the range known here, > 0; 0 if none is.
        """
        super().__init__(
            UnavailableKind.MOVED,
            "The range of the entry is elsewhere, or on its way; retry.",
            retry_after_ms=RETRY_AFTER_MS,
        )
        self.range_id = range_id
        self.epoch = epoch


class Unknown(DStoreError):
    """The write may or may not have happened; never to be disguised as a failure."""


class Corrupt(DStoreError):
    """Stored bytes fail authentication or cannot be what was written."""

    def __init__(self, message: str, *, file: str, where: str) -> None:
        """Name the place, for the operator.

        Args:
            message: a sentence without any stored content.
            file: the file's name relative to the data directory.
            where: the place in it, such as "page 17" or "wal frame 3".
        """
        super().__init__(message)
        self.file = file
        self.where = where


def invalid(message: str) -> Refused:
    """Make the commonest refusal: the request does not make sense as it stands."""
    return Refused(RefusalKind.INVALID, message)


def excerpt(text: str) -> str:
    """Quote what an error's sentence may show of a client's text: ASCII, at most 40 characters."""
    shown = text if len(text) <= _EXCERPT_CHARS else text[:_EXCERPT_CHARS] + "..."
    return ascii(shown)
