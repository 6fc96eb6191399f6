"""A node joins with an empty directory, and keeps what it has kept by itself where it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from dstore.api.http.admission import Admission
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import RefusalKind, Refused
from dstore.roles.base import Runtime, Surface
from dstore.roles.node import mount
from dstore.settings import load
from tests.unit.service.nodes import a_node


def a_runtime(data: Path, token_file: Path | None = None) -> Runtime:
    metrics = create_metrics()
    return Runtime(
        settings=load(flags={"data": data, "join_token_file": token_file}),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        metrics=metrics,
        admission=Admission(metrics),
        role_names=("node",),
        started_at_us=0,
        on_fatal=lambda _error: None,
        tasks=Tasks(lambda _error: None),
    )


async def test_without_a_token_a_node_stands_alone(tmp_path: Path) -> None:
    """It serves clients and its operator, and has no listener for components."""
    mounted = await mount(a_runtime(tmp_path))
    assert set(mounted.routes) == {Surface.PUBLIC, Surface.ADMIN}
    await mounted.close()


async def test_what_a_node_has_kept_alone_does_not_go_under(tmp_path: Path) -> None:
    """A directory with tenants does not join: the cluster would know nothing of them."""
    data, token = tmp_path / "data", tmp_path / "token"
    token.write_text("dstore-join-v1.nonsense\n")
    async with a_node(data) as node:
        await node.catalog.create_tenant("acme")
    with pytest.raises(Refused, match="1 tenant") as caught:
        await mount(a_runtime(data, token))
    assert caught.value.kind is RefusalKind.CONFLICT
    async with a_node(data) as node:
        await node.catalog.delete_tenant("acme", force=False)
    with pytest.raises(Refused, match="token"):
        await mount(a_runtime(data, token))


async def test_what_control_keeps_is_not_served_alone(tmp_path: Path) -> None:
    """Tables made behind control's back would be given up at the next start with control."""
    async with a_node(tmp_path) as node:
        await node.catalog.create_tenant("acme")
        await node.holdings.hand_over("0f0e0d0c-0000-4000-8000-000000000001")
    with pytest.raises(Refused, match="--role all") as caught:
        await mount(a_runtime(tmp_path))
    assert caught.value.kind is RefusalKind.CONFLICT
    async with a_node(tmp_path) as node:  # nothing was changed, and nothing is left open
        assert list(node.holdings.tenant_names()) == ["acme"]


async def test_a_token_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The operator hears which file is missing."""
    with pytest.raises(Refused, match=r"join\.token_file"):
        await mount(a_runtime(tmp_path, tmp_path / "missing"))
