"""The data node: alone it answers both APIs, as SPEC.md wants; in a cluster it serves proxies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dstore.api.admin.routes import admin_routes
from dstore.api.admin.status import Report
from dstore.api.dynamodb.door import dynamodb_routes
from dstore.api.http.health import Readiness
from dstore.api.v1.entries import plan_deferred
from dstore.api.v1.routes import v1_routes
from dstore.base.threads import in_thread
from dstore.model.errors import RefusalKind, Refused
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.roles.member_node import mount_member, node_options
from dstore.roles.membership import enrolled, has_token, membership_enrolment
from dstore.security.identity import ComponentRole
from dstore.service.client_env import NodeKeeper, write_client_env
from dstore.service.node import open_node
from dstore.storage.node_records import KEEPER
from dstore.storage.table_records import NODE_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.service.client_env import Addresses
    from dstore.service.node import Node
    from dstore.settings import Settings


async def mount(runtime: Runtime) -> Mounted:
    """Mount a node of the cluster that the directory belongs to or joins now, else one alone.

    Raises: Refused: the directory is no new one, and belongs to no cluster; what joining raises.
    """
    settings = runtime.settings
    if has_token(settings) and await enrolled(settings.data, ComponentRole.NODE) is None:
        await _require_empty(runtime)
    enrolment = await membership_enrolment(
        runtime, ComponentRole.NODE, capacity_bytes=await in_thread(lambda: _capacity(settings))
    )
    if enrolment is not None:
        return await mount_member(runtime, enrolment)
    return await _mount_alone(runtime)


async def _mount_alone(runtime: Runtime) -> Mounted:
    """Open the data directory and bind the node's surfaces to it."""
    settings = runtime.settings
    node = await _opened(runtime)
    try:
        await _require_no_keeper(node)
    except BaseException:
        await node.close()
        raise
    report = Report(
        roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
    )

    async def announce(addresses: Addresses) -> Path | None:
        return await write_client_env(NodeKeeper(node), settings.data, addresses)

    return Mounted(
        routes={
            Surface.PUBLIC: (
                *v1_routes(node),
                *dynamodb_routes(node, clock=runtime.clock, entropy=runtime.entropy),
            ),
            Surface.ADMIN: admin_routes(node, report=report, metrics=runtime.metrics),
        },
        jobs=(
            Job(name="watch_disk", run=node.watch_disk),
            Job(name="tidy_files", run=node.tidy_files),
            Job(name="tidy_orphans", run=node.tidy_orphans),
            Job(name="store_quantities", run=node.store_quantities),
            Job(name="expire_items", run=node.expire_items),
            Job(name="do_deferred", run=lambda: node.do_deferred(plan_deferred)),
        ),
        ready=lambda: Readiness(is_ready=True),
        announce=announce,
        close=node.close,
    )


async def _opened(runtime: Runtime) -> Node:
    return await open_node(
        node_options(runtime.settings),
        clock=runtime.clock,
        entropy=runtime.entropy,
        on_fatal=runtime.on_fatal,
        on_batch=runtime.metrics.count_batch,
        expired=runtime.metrics.expiry,
    )


async def _require_no_keeper(node: Node) -> None:
    """Refuse a directory whose tenants and tables control keeps.

    What a node made there by itself control would not know, and the node would give it up at the
    next start with control: acknowledged writes would be gone.
    """
    keeper = (await node.settings()).get(KEEPER)
    if keeper is not None:
        raise Refused(
            RefusalKind.CONFLICT,
            f"The tables in this directory are kept by the control plane {keeper}, which lies in "
            "the same directory; start it with --role all.",
        )


async def _require_empty(runtime: Runtime) -> None:
    """Keep what a node has kept by itself from going under where no client finds it."""
    if not await in_thread((runtime.settings.data / NODE_FILE).exists):
        return
    node = await _opened(runtime)
    tenants = len(node.holdings.tenants)
    await node.close()
    if tenants:
        raise Refused(
            RefusalKind.CONFLICT,
            f"This directory has {tenants} tenant(s) of a node that stood alone, which the cluster "
            "would not serve. Join with an empty directory, and copy the tables over.",
        )


def _capacity(settings: Settings) -> int:
    stats = os.statvfs(settings.data)
    return stats.f_blocks * stats.f_frsize


NODE = Role(name="node", summary="keeps the data; alone it answers the whole API", mount=mount)
