"""What the surfaces that clients reach need of a process, whatever stands behind it.

A stand-alone node is it (`node.Node`), and so is a proxy (`proxy.Proxy`), which has others do the
work. The code under `api` sees no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dstore.service.access import Principal, SignedRequest
    from dstore.service.deferred_store import DeferredOutcome, DeferredWrite
    from dstore.service.directory import Directory, Registrar
    from dstore.service.entry_audit import EntryAudit
    from dstore.service.items import Items
    from dstore.service.range_walks import RangeWalks
    from dstore.service.tables import Tables


class Gatekeeper(Protocol):
    """Knows the credentials of clients. Look-ups and arithmetic only, nothing waits."""

    def bearer(self, authorization: str) -> Principal:
        """Authenticate `Authorization: Bearer …`. Raises: Refused(UNAUTHENTICATED), Unavailable."""

    def signature(self, request: SignedRequest) -> Principal:
        """Authenticate a request signed with an access key (SigV4).

        Raises: SignatureRefused: the signature is missing, malformed, stale or wrong. Unavailable:
            what would tell is not at hand.
        """

    def check_known(self, request: SignedRequest) -> None:
        """Refuse a request, before its body has come, that `signature` refuses whatever the body.

        Raises: SignatureRefused: the signature cannot be read, or names no access key.
        """


class DeferredWrites(Protocol):
    """Writes that are accepted now and done later, for `Prefer: respond-async`."""

    async def accept(self, write: DeferredWrite) -> str:
        """Make a write durable in a queue. Returns: its request id, under which to ask.

        Raises: Unavailable: nothing was accepted. Unknown: it may have been. Refused: no such
            tenant.
        """

    async def outcome(self, tenant: str, request_id: str) -> DeferredOutcome | None:
        """Ask how a write went.

        Returns: None while it waits. Raises: Refused: not known, or no longer.
        """


class UseCases(Protocol):
    """What a process serves its clients with."""

    @property
    def access(self) -> Gatekeeper:
        """Who is asking."""

    @property
    def directory(self) -> Directory:
        """What tenants and tables there are."""

    @property
    def registrar(self) -> Registrar:
        """What changes them."""

    @property
    def items(self) -> Items:
        """Entries by their key."""

    @property
    def walks(self) -> RangeWalks:
        """Pages of entries."""

    @property
    def tables(self) -> Tables:
        """Tables as the DynamoDB API changes them."""

    @property
    def deferred(self) -> DeferredWrites:
        """Writes to be done later."""

    @property
    def entry_audit(self) -> EntryAudit:
        """What the operator writes."""
