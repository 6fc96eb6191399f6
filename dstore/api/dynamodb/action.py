"""An operation as a value: its name, the shape of its request, and what carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore.base.limits import INLINE_JSON_BYTES_MAX, INVOCATION_ID_CHARS_MAX
from dstore.service.access import require_same_tenant
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from dstore.api.dynamodb.shapes import Structure
    from dstore.service.access import Principal
    from dstore.service.directory import KnownTenant
    from dstore.service.use_cases import UseCases

Members = dict[str, Any]
"""A request's members by name, as JSON gave them; of the types that the shape states."""

Reply = Mapping[str, Any] | bytes | None
"""What to answer: a map to encode, JSON made by the action itself, or None for an empty body."""


@dataclass(slots=True, kw_only=True)  # Freezing would cost 2 µs on every request.
class Call:
    """One authenticated request, whose members fit the operation's shape.

    `body_bytes` is the size of the body that the members came in, inflated; 0 if it is unknown.
    """

    cases: UseCases
    principal: Principal
    tenant: str
    region: str
    """The region that the signature names; it is free text, and stands in ARNs."""
    members: Members
    body_bytes: int = 0
    host: str = ""
    """The host and port by which the client reached the door, as its Host header says."""
    action: str = ""
    invocation: str = ""
    """What the SDK calls the request, each time that it sends it: its amz-sdk-invocation-id."""
    body_sha256: str = ""
    """Of the body as it was sent, in hexadecimal digits."""

    @property
    def is_large(self) -> bool:
        """Whether work on all of the members belongs into a thread."""
        return self.body_bytes > INLINE_JSON_BYTES_MAX

    def request_name(self, ordinal: int = 0) -> RequestName | None:
        """Name a write of the request, so that the SDK's own retry is not done again (I9).

        `ordinal` counts the writes of a request. None: the client has no name for it. The same name
        with another body, or of another operation, is another request.
        """
        invocation = self.invocation
        if not 0 < len(invocation) <= INVOCATION_ID_CHARS_MAX or not invocation.isprintable():
            return None
        return RequestName(
            principal=f"{self.tenant}/{self.principal.credential}",
            request_id=f"{self.action}/{invocation}",
            digest=bytes.fromhex(self.body_sha256),
            ordinal=ordinal,
            is_brief=True,
        )

    def known_tenant(self) -> KnownTenant:
        """Find the tenant whose access key signed the request, and no later one of its name.

        A large request takes a while to be read, and its tenant may be another one behind that.

        Raises: Refused: there is none, or it is another one. Unavailable: nobody knows.
        """
        directory = self.cases.directory
        found = directory.tenant(self.tenant)
        if found.uuid != self.principal.tenant_id:
            require_same_tenant(self.principal, directory)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One operation. `run` raises `AwsError` or any `DStoreError`; it never renders an error."""

    name: str
    shape: Structure
    run: Callable[[Call], Awaitable[Reply]]
