"""How a server process starts and stops: quickly, alone on its directory, keeping what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.server import Server


def test_shared_server_answers(server: Server, fresh_tenant: str) -> None:
    """The fixture that other tests stand on serves and knows its operator."""
    with server.client() as client:
        assert client.get(f"/v1/tenant/{fresh_tenant}").json()["tenant"] == fresh_tenant
