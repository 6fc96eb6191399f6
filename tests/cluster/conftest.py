"""What the tests of this folder share: a running server."""

from tests.support.shared_server import fresh_tenant, server

__all__ = ["fresh_tenant", "server"]
