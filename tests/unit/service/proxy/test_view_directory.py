"""What a proxy's directory says is not there, and what it does not know."""

from types import SimpleNamespace
from typing import Any

import pytest

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.topology.status import TopologyState
from tests.support.topology import fold, whole_table


def directory(state: TopologyState) -> ViewDirectory:
    """Look at a view that holds the table orders of acme, in some state."""
    watcher: Any = SimpleNamespace(
        view=fold(whole_table()).view, status=lambda: SimpleNamespace(state=state)
    )
    return ViewDirectory(watcher)


@pytest.mark.parametrize(("tenant", "table"), [("acme", "absent"), ("absent", "orders")])
def test_a_live_view_says_what_is_not_there(tenant: str, table: str) -> None:
    """It came from the coordinator since the start."""
    with pytest.raises(Refused) as refused:
        directory(TopologyState.LIVE).table(tenant, table)
    assert refused.value.kind is RefusalKind.NOT_FOUND


@pytest.mark.parametrize("state", sorted(set(TopologyState) - {TopologyState.LIVE}))
@pytest.mark.parametrize(("tenant", "table"), [("acme", "absent"), ("absent", "orders")])
def test_an_old_view_does_not_deny_anything(state: TopologyState, tenant: str, table: str) -> None:
    """A table made after the copy was written is there: no client may hear that it is not."""
    known = directory(state)
    assert known.table("acme", "orders").definition.name == "orders"
    with pytest.raises(Unavailable) as unavailable:
        known.table(tenant, table)
    assert unavailable.value.kind is UnavailableKind.UNREACHABLE
    assert unavailable.value.retry_after_ms is not None
