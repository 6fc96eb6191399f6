"""The data node. Alone it answers v1, the DynamoDB API and the admin API, as SPEC.md wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin.routes import admin_routes
from dstore.api.admin.status import Report
from dstore.api.dynamodb.door import dynamodb_routes
from dstore.api.http.health import Readiness
from dstore.api.v1.entries import plan_deferred
from dstore.api.v1.routes import v1_routes
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.service.client_env import write_client_env
from dstore.service.node import NodeOptions, open_node

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.service.client_env import Addresses


async def mount(runtime: Runtime) -> Mounted:
    """Open the data directory and bind the node's surfaces to it."""
    settings = runtime.settings
    node = await open_node(
        NodeOptions(
            directory=settings.data,
            location=settings.location,
            page_cache_bytes=settings.page_cache_bytes,
            entry_cache_bytes=settings.entry_cache_bytes,
            open_files_max=settings.open_files_max,
            free_disk_bytes_min=settings.free_disk_bytes_min,
            wal_pages_checkpoint=settings.wal_pages_checkpoint,
        ),
        clock=runtime.clock,
        entropy=runtime.entropy,
        on_fatal=runtime.on_fatal,
    )
    report = Report(
        roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
    )

    async def announce(addresses: Addresses) -> Path | None:
        return await write_client_env(node, settings.data, addresses)

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
            Job(name="do_deferred", run=lambda: node.do_deferred(plan_deferred)),
        ),
        ready=lambda: Readiness(is_ready=True),
        announce=announce,
        close=node.close,
    )


NODE = Role(name="node", summary="keeps the data; alone it answers the whole API", mount=mount)
