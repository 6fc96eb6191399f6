"""What every coordinator refuses before it does anything; these bounds lie inside etcd's own.

They are the same for all, so that what works on one works on the other.
"""

from collections import Counter
from itertools import chain

from dstore.base.limits import (
    COORDINATOR_KEY_BYTES_MAX,
    COORDINATOR_REQUEST_BYTES_MAX,
    LEASE_TTL_S_MAX,
    TRANSACTION_OPERATIONS_MAX,
)
from dstore.topology.coordinator import (
    Compare,
    CoordinatorRefused,
    Get,
    Operation,
    Put,
    Transaction,
    ValueIs,
)


def check_key(key: str) -> None:
    """Refuse a key that is empty, over COORDINATOR_KEY_BYTES_MAX or no text.

    Raises: CoordinatorRefused.
    """
    if not key:
        raise CoordinatorRefused("A key is empty.")
    if _key_bytes(key) > COORDINATOR_KEY_BYTES_MAX:
        raise CoordinatorRefused(
            f"A key has more than {COORDINATOR_KEY_BYTES_MAX} bytes; it begins {key[:40]!a}."
        )


def check_put(key: str, value: bytes) -> None:
    """Refuse a put that is over a bound. Raises: CoordinatorRefused."""
    check_key(key)
    _check_request(len(key) + len(value))


def check_transaction(transaction: Transaction) -> None:
    """Refuse a transaction that is over a bound, or that writes a key twice in one branch.

    Raises: CoordinatorRefused.
    """
    parts = (transaction.compares, transaction.then, transaction.otherwise)
    for count in map(len, parts):
        if count > TRANSACTION_OPERATIONS_MAX:
            raise CoordinatorRefused(
                f"A transaction has {count} compares or operations in one part; "
                f"{TRANSACTION_OPERATIONS_MAX} are allowed."
            )
    for branch in (transaction.then, transaction.otherwise):
        written = Counter(op.key for op in branch if not isinstance(op, Get))
        if written and max(written.values()) > 1:
            raise CoordinatorRefused("A transaction writes a key twice.")
    request_bytes = 0
    for part in chain[Compare | Operation](*parts):
        check_key(part.key)
        request_bytes += _bytes_of(part)
    _check_request(request_bytes)


def check_ttl(ttl_s: int) -> None:
    """Refuse a lease shorter than a second or longer than LEASE_TTL_S_MAX.

    Raises: CoordinatorRefused.
    """
    if not 1 <= ttl_s <= LEASE_TTL_S_MAX:
        raise CoordinatorRefused(f"A lease lasts 1 to {LEASE_TTL_S_MAX} s, not {ttl_s}.")


def _check_request(request_bytes: int) -> None:
    if request_bytes > COORDINATOR_REQUEST_BYTES_MAX:
        raise CoordinatorRefused(
            f"A write has {request_bytes} bytes; {COORDINATOR_REQUEST_BYTES_MAX} are allowed."
        )


def _bytes_of(part: Compare | Operation) -> int:
    value_bytes = len(part.value) if isinstance(part, Put | ValueIs) else 0
    return _key_bytes(part.key) + value_bytes


def _key_bytes(key: str) -> int:
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        raise CoordinatorRefused("A key is no text: it has lone surrogates.") from None
