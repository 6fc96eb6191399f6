"""/health/live and /health/ready, on both surfaces, for whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.api.contract import CheckedClient

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.parametrize("surface", ["DSTORE_URL", "DSTORE_ADMIN_URL"])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/health/live", {"status": "live"}), ("/health/ready", {"status": "ready"})],
)
def test_health_needs_no_credential(
    server: Server, surface: str, path: str, body: dict[str, str]
) -> None:
    """A load balancer has no token; a wrong one does not make the process ill."""
    for token in (None, "wrong"):
        with CheckedClient(server.env()[surface], token=token) as asking:
            answer = asking.get(path)
            assert answer.status == 200
            assert answer.json() == body
            assert asking.request("HEAD", path).status == 200
            assert asking.post(path).status == 405


def test_health_says_nothing_else(client: CheckedClient) -> None:
    """No version, no path, no count: it is open to everybody."""
    assert client.get("/health/live").json().keys() == {"status"}
    assert client.get("/health/live/x").status == 404
    assert client.get("/health").status == 404
