"""What can be called: names, types, who may call, and whether a repetition does harm.

A `PeerCall` is a value, shared by both sides; `Calls` is what a caller knows, `Methods` what a
component answers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from dstore.model.errors import DStoreError, RefusalKind, Refused, excerpt, invalid
from dstore.replication.peers.port import PeerRequest, Received
from dstore.security.identity import ComponentRole

Request = TypeVar("Request", bound=PeerRequest[Any])
Reply = TypeVar("Reply", bound=msgspec.Struct)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", re.ASCII)
_NAME_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCall(Generic[Request, Reply]):
    """One kind of call.

    `name` is what the wire says, such as "range.read". `is_safe` calls only read: when their
    answer is lost they fail as `Unreachable` and may be repeated; all others fail as `Unknown`.
    """

    name: str
    request: type[Request]
    reply: type[Reply]
    roles: frozenset[ComponentRole]
    is_safe: bool

    def __post_init__(self) -> None:
        """Refuse what can't be called; a broken declaration is a bug, not an input."""
        assert _NAME.fullmatch(self.name), self.name
        assert len(self.name) <= _NAME_CHARS_MAX, self.name
        assert issubclass(self.request, PeerRequest), self.request
        assert self.roles, self.name


class AskedCall:
    """A call as its caller needs it at hand."""

    __slots__ = ("decode", "is_safe", "name")

    def __init__(self, call: PeerCall[Any, Any]) -> None:
        """Prepare the decoder of replies."""
        self.name = call.name
        self.is_safe = call.is_safe
        self.decode: Callable[[Any], Any] = msgspec.msgpack.Decoder(call.reply).decode


class Calls:
    """The calls that a component makes, found by the type of their request."""

    __slots__ = ("_by_request",)

    def __init__(self, calls: Sequence[PeerCall[Any, Any]]) -> None:
        """Take all calls; two with one name or one request type are a bug."""
        assert len({call.name for call in calls}) == len(calls)
        self._by_request = {call.request: AskedCall(call) for call in calls}
        assert len(self._by_request) == len(calls)

    def of(self, request: PeerRequest[Any]) -> AskedCall:
        """Return the call that `request` belongs to; one that is not registered is a bug."""
        return self._by_request[type(request)]


Handler = Callable[[Request, Received], Reply | Awaitable[Reply]]
"""Answers a call: at once with the reply, or with a future of it, or as a coroutine.

A reply at once costs the answering side 4 us in all, a coroutine 10 us, since it runs as a task
(`scripts/bench peers`); in one process it is 1.4 us and 16 us. A future is never cancelled from
here; neither is a coroutine, except at the end.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Request, Reply]):
    """A call and who answers it."""

    call: PeerCall[Request, Reply]
    handler: Handler[Request, Reply]


class Method:
    """A call as who answers it needs it at hand."""

    __slots__ = ("decode", "handler", "is_safe", "name", "reply", "request", "roles")

    def __init__(self, answered: Answered[Any, Any]) -> None:
        """Prepare the decoder of requests."""
        call = answered.call
        self.name = call.name
        self.roles = call.roles
        self.is_safe = call.is_safe
        self.reply: type[msgspec.Struct] = call.reply
        self.request: type[msgspec.Struct] = call.request
        self.handler: Handler[Any, Any] = answered.handler
        self.decode: Callable[[Any], Any] = msgspec.msgpack.Decoder(call.request).decode


class Methods:
    """The calls that a component answers."""

    __slots__ = ("_by_name", "_by_request", "roles")

    def __init__(self, answered: Sequence[Answered[Any, Any]]) -> None:
        """Take all handlers; two for one name or one request type are a bug."""
        methods = [Method(one) for one in answered]
        self._by_name = {method.name: method for method in methods}
        self._by_request = {method.request: method for method in methods}
        assert len(self._by_name) == len(self._by_request) == len(methods)
        self.roles: frozenset[ComponentRole] = frozenset().union(*(one.roles for one in methods))

    def for_role(self, role: ComponentRole) -> dict[str, Method]:
        """Return what a component of this role may call, by name."""
        return {name: method for name, method in self._by_name.items() if role in method.roles}

    def of(self, request: PeerRequest[Any], role: ComponentRole) -> Method:
        """Return the method of a request. Raises: Refused (invalid, forbidden)."""
        method = self._by_request.get(type(request))
        if method is None:
            raise self.refusal(type(request).__qualname__, role)
        if role not in method.roles:
            raise self.refusal(method.name, role)
        return method

    def refusal(self, name: str, role: ComponentRole) -> DStoreError:
        """Make the error of a call that `role` can't make, or that nobody answers here."""
        method = self._by_name.get(name)
        if method is None:
            return invalid(
                f"The call {excerpt(name)} is unknown here; upgrade this component, or wait until "
                "it has been."
            )
        return Refused(
            RefusalKind.FORBIDDEN,
            f"A {role} may not call {name}; it is for {', '.join(sorted(method.roles))}.",
        )
