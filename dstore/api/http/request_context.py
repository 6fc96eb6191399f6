"""What the kit knows of one request: its id, the values in its path, what is held for it.

The context is also aiohttp's match info (a dict of the path's values), so that a request costs one
object and not two: `request.match_info["tenant"]` is the usual way to a value.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from multidict import istr

from dstore.api.http.admission import Admission
from dstore.api.http.answer import REQUEST_ID_HEADER
from dstore.api.http.outbox import Outbox
from dstore.api.http.route import Handler
from dstore.base.entropy import Entropy
from dstore.base.limits import INLINE_JSON_BYTES_MAX, REQUEST_ID_CHARS_MAX

if TYPE_CHECKING:
    from aiohttp.web_urldispatcher import AbstractRoute

_GIVEN_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{REQUEST_ID_CHARS_MAX}}}")
_HEADER: Final = istr(REQUEST_ID_HEADER)
_ID_BYTES: Final = 10  # 80 bits: no two requests ever share an id
_ID_CHARS: Final = 2 * _ID_BYTES  # hexadecimal, which Python writes quickest
_IDS_DRAWN: Final = 256  # at a time


class ClientGone(Exception):
    """The client has closed the connection before its request was whole; nobody hears an answer."""


class RequestContext(UrlMappingMatchInfo):
    """One request's context; the application makes it, `context_of` finds it."""

    __slots__ = (
        "admission",
        "body_bytes",
        "operation",
        "outbox",
        "request_id",
        "reserved_bytes",
        "serve",
    )

    def __init__(
        self,
        values: dict[str, str],
        *,
        route: "AbstractRoute",
        serve: Handler,
        admission: Admission,
        outbox: Outbox,
    ) -> None:
        """Begin with an empty id; the application fills it in before the handler runs."""
        dict.__init__(self, values)
        self._route = route
        self._apps = []
        self._current_app = None
        self._frozen = False
        self.serve = serve
        self.admission = admission
        self.outbox = outbox
        self.request_id = ""
        self.operation = ""  # what the handler found out that it is; "" leaves the route's
        self.body_bytes = 0  # received
        self.reserved_bytes = 0  # of `admission`, until the answer is made

    @property
    def handler(self) -> Handler:
        """Return what answers the request."""
        return self.serve

    @property
    def expect_handler(self) -> Callable[[web.Request], Awaitable[None]]:
        """Leave `Expect` to `read_body`: 100 Continue goes out when the body is really wanted."""
        return _expect_nothing

    def reserve(self, bytes_count: int) -> None:
        """Hold bytes of the process's room for bodies until this request is answered.

        Raises: Unavailable (overloaded).
        """
        held = self.reserved_bytes + bytes_count
        self.admission.reserve_body(bytes_count, is_large=held > INLINE_JSON_BYTES_MAX)
        self.reserved_bytes = held

    def check_room(self, bytes_count: int) -> None:
        """Look whether `reserve` would hold so much now, without holding it.

        Raises: Unavailable (overloaded).
        """
        held = self.reserved_bytes + bytes_count
        self.admission.check_body(bytes_count, is_large=held > INLINE_JSON_BYTES_MAX)

    def release(self) -> None:
        """Give back everything that is held."""
        if self.reserved_bytes:
            self.admission.release_body(self.reserved_bytes)
            self.reserved_bytes = 0


def context_of(request: web.BaseRequest) -> RequestContext:
    """Return the context of a request that came through `build_application`."""
    assert isinstance(request, web.Request)
    context = request.match_info
    assert isinstance(context, RequestContext)
    return context


def request_id_of(request: web.BaseRequest) -> str:
    """Return the id under which the request is answered and logged."""
    return context_of(request).request_id


class RequestIds:
    """Give each request an id: the client's own if it is well-formed, else a new one.

    A new id is random, so that the ids of two requests tell nothing of how many came in between
    from whom (I11). They are drawn many at a time, which makes one cost 0.6 us.
    """

    __slots__ = ("_drawn", "_entropy")

    def __init__(self, entropy: Entropy) -> None:
        """Keep where ids come from."""
        self._entropy = entropy
        self._drawn: list[str] = []

    def of(self, request: web.BaseRequest) -> str:
        """Return the request's id, 1 to REQUEST_ID_CHARS_MAX characters of [A-Za-z0-9._-]."""
        given = request.headers.get(_HEADER)
        if given is not None and _GIVEN_ID.fullmatch(given) is not None:
            return given
        return self.new()

    def new(self) -> str:
        """Return an id that no other request has."""
        if not self._drawn:
            letters = self._entropy.token(_ID_BYTES * _IDS_DRAWN).hex()
            self._drawn = [
                letters[start : start + _ID_CHARS] for start in range(0, len(letters), _ID_CHARS)
            ]
        return self._drawn.pop()


async def _expect_nothing(_request: web.Request) -> None:
    return None
