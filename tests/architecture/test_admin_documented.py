"""docs/ADMIN.md names every route of the admin API, and no other."""

import re
from pathlib import Path
from typing import Any

from dstore.api.admin.routes import admin_routes, control_routes
from dstore.api.http.health import Readiness, health_routes

PAGE = Path(__file__).parents[2] / "docs" / "ADMIN.md"


class _Anything:
    """Stands in for what handlers only keep."""

    def __getattr__(self, _name: str) -> Any:
        return self


def test_page_names_the_routes_that_there_are() -> None:
    """Who adds a route adds its line; who removes one, too."""
    anything: Any = _Anything()
    routes = (
        *admin_routes(anything, report=anything, metrics=anything),
        *control_routes(anything, report=anything, metrics=anything),
        *health_routes(lambda: Readiness(is_ready=True)),
    )
    there_are = {f"{route.method} {route.path}" for route in routes}
    named = set(re.findall(r"(?m)^\| `([A-Z]+ /[^`]+)` \|", PAGE.read_text()))
    assert there_are == named
