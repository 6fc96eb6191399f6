"""What a surface is made of: routes, as plain data.

A surface's module returns a tuple of `Route`s; `application.build_application` turns them into an
aiohttp application. See `path_tree.py` for how a path finds its route.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dstore.api.http.answer import Answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHOD: Final = re.compile(r"[A-Z]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}")
_OPERATION: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How failures are told, and under which names requests are counted, logged and followed.

    It holds for every answer of a path, also for those made before a handler runs: an overloaded or
    draining process, headers too large, a method that the path does not answer. A route without
    one speaks the application's.
    """

    surface: str
    """Its name in metrics and in the log."""
    id_header: str
    """The header in which a request's id goes out."""
    request_id_of: Callable[[web.BaseRequest], str]
    """Makes the id of a request, or takes the client's own."""
    render_error: Callable[[Exception, web.Request], Answer]
    """Makes the answer of whatever a handler raises; it never raises itself."""
    expected: tuple[type[Exception], ...] = ()
    """The errors that are answers, besides those of the house; all others are logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path, and who answers it.

    `path` is absolute; a segment is literal text or `{name}`, which matches one segment that is not
    empty; the handler finds the percent-decoded text in `request.match_info["name"]`. A literal
    segment wins over a `{name}`. A GET route answers HEAD too, unless HEAD has a route of its own.

    The handler returns an answer (`answer.Answer` is the fast one) or raises a `DStoreError`; it
    never renders an error. `operation` is the snake_case name under which requests are counted.
    A handler that answers several operations names the one at hand in the context's `operation`.
    `is_probe`: machines ask it every few seconds, and a 503 is no line in the log of errors.
    `is_vital` requests are answered even when the process is overloaded or draining. All routes of
    one path have the same dialect.
    """

    method: str
    path: str
    handler: Handler
    operation: str
    is_vital: bool = False
    is_probe: bool = False
    dialect: Dialect | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be resolved; a broken route is a bug, not an input."""
        assert _METHOD.fullmatch(self.method), self.method
        assert _OPERATION.fullmatch(self.operation), self.operation
        assert self.path.startswith("/"), self.path
        assert self.path == "/" or all(map(_SEGMENT.fullmatch, self.segments)), self.path
        assert len(set(self.names)) == len(self.names), self.path

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the parts between the slashes; one empty part for the path `/`."""
        return tuple(self.path[1:].split("/"))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in braces, in order."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))
