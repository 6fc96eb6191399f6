"""PostgreSQL's failures in dStore's words: the one place that reads asyncpg's exceptions.

Sentences never quote an exception: its text may hold values, or the address of the server.
"""

from __future__ import annotations

from typing import Final

import asyncpg

from dstore.model.errors import Corrupt, DStoreError, RefusalKind, Refused
from dstore.storage.control.session import (
    broken_rule,
    busy,
    no_space,
    too_slow,
    unknown,
    unreachable,
)

# Whatever a call on a connection may raise for a reason outside this program.
FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)

_ANY_RIGHT: Final = "42501"  # insufficient_privilege
_READ_ONLY: Final = "25006"  # read_only_sql_transaction: a standby, or one that was demoted
_DISK_FULL: Final = "53100"
_OUTCOME_UNKNOWN: Final = frozenset({"08007", "40003"})


def translated(error: BaseException) -> DStoreError:
    """Translate what a statement raised before any commit: nothing was written."""
    match error:
        case DStoreError():
            return error
        case asyncpg.DataError():
            return Refused(RefusalKind.INVALID, "Control's store does not take a value like that.")
        case asyncpg.PostgresError(sqlstate=str() as state):
            return _by_state(state)
        case TimeoutError():
            return too_slow()
        case _:
            return unreachable(
                "PostgreSQL, control's store, can't be reached; nothing was written."
            )


def of_commit(error: BaseException) -> DStoreError:
    """Translate what a commit raised: only the server's own word makes it definite.

    An ERROR in answer to COMMIT means that the transaction is rolled back. A FATAL one may come
    after the commit (a backend that was terminated while it waited for a standby).
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
        if severity == "ERROR" and state not in _OUTCOME_UNKNOWN:
            return translated(error)
    return unknown()


def is_disconnected(error: BaseException) -> bool:
    """Tell whether the connection is of no use any more, whatever PostgreSQL itself does."""
    return isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.InterfaceError
        | asyncpg.OperatorInterventionError
        | OSError
        | EOFError,
    )


def _by_state(state: str) -> DStoreError:
    """By SQLSTATE; its first two characters are a class. Source: PostgreSQL 15, appendix A."""
    if state == _DISK_FULL:
        return no_space()
    if state == _ANY_RIGHT:
        return unreachable("PostgreSQL denies control's user a right on its own tables.")
    if state == _READ_ONLY:
        return unreachable("PostgreSQL is read-only; control's store needs the primary server.")
    match state[:2]:
        case "23":
            return broken_rule()
        case "22":
            return Refused(RefusalKind.INVALID, "Control's store does not take a value like that.")
        case "28" | "3D":
            return unreachable(
                "PostgreSQL does not let control in; see its user, database and password file."
            )
        case "40" | "55" | "53":
            return busy()
        case "42" | "XX":
            return Corrupt(
                "Control's store is not as this dStore made it.", file="control", where="structure"
            )
        case "57":
            return too_slow() if state == "57014" else unreachable("PostgreSQL is ending.")
        case _:
            return unreachable("PostgreSQL, control's store, does not do what it was asked.")
