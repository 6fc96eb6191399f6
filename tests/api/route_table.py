"""The routes of the two surfaces as plain data, for tests that have to cover every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from dstore.api.admin.routes import admin_routes
from dstore.api.v1.routes import v1_routes

if TYPE_CHECKING:
    from dstore.api.admin.status import Report
    from dstore.api.http.route import Route
    from dstore.base.metrics import Metrics
    from dstore.service.node import Node

_NOTHING: Final = object()  # the handlers only keep what they are bound to

V1: Final[tuple[Route, ...]] = v1_routes(cast("Node", _NOTHING))
ADMIN: Final[tuple[Route, ...]] = admin_routes(
    cast("Node", _NOTHING), report=cast("Report", _NOTHING), metrics=cast("Metrics", _NOTHING)
)
METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
