"""Changes of tenants and tables, made by control and waited for: who makes a table then sees it.

A change is made once, however often it has to be asked for: what is created has a UUID that is
drawn here, and settings are compared with those that the change was worked out from (I9).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import msgspec

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    PROXY_CHANGE_TIMEOUT_S,
    PROXY_RETRY_S_MAX,
    PROXY_TABLE_TIMEOUT_S,
    PROXY_VIEW_TIMEOUT_S,
    RETRY_AFTER_MS,
    SETTINGS_ROUNDS_MAX,
)
from dstore.base.threads import in_thread
from dstore.model.errors import Unavailable, UnavailableKind, Unknown
from dstore.model.rid import validate_table_name, validate_tenant_name
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey, decode_definition
from dstore.model.tables import TableId
from dstore.service.calls.control_calls import (
    CreateTable,
    CreateTenant,
    DeclareTable,
    DeleteTable,
    DeleteTenant,
    SetTable,
)
from dstore.service.refusals import no_such
from dstore.topology.coordinator import Revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.model.ranges import Table
    from dstore.model.table_settings import KeyAttribute, TableSettings
    from dstore.model.tables import IdType, TableDefinition
    from dstore.replication.peers.port import Peer, PeerRequest
    from dstore.service.access import Principal
    from dstore.service.calls.control_calls import TableChanged
    from dstore.service.directory import Declared, KnownTenant
    from dstore.service.proxy.view_directory import ViewDirectory
    from dstore.topology.watcher import TopologyWatcher

Reply = TypeVar("Reply", bound=msgspec.Struct)

_DEADLINE_S_MIN: Final = 0.02  # below it an answer could not be waited for


class RemoteRegistrar:
    """A `directory.Registrar` over control. Used from one event loop."""

    def __init__(
        self,
        control: Peer,
        *,
        watcher: TopologyWatcher,
        directory: ViewDirectory,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Prepare.

        Args:
            control: whichever control can answer (`enrolment.control_link`).
            watcher: shows when a change has come.
            directory: over the same watcher.
            clock: for deadlines.
            entropy: draws the UUIDs of what is made.
        """
        self._control = control
        self._watcher = watcher
        self._directory = directory
        self._clock = clock
        self._entropy = entropy

    async def create_tenant(
        self, name: str, *, by: Principal | None = None
    ) -> tuple[KnownTenant, bool]:
        """Create a tenant. Returns: it, and whether it is new. Raises: Refused: a bad name."""
        validate_tenant_name(name)
        made = await self._ask(
            CreateTenant(name=name, tenant_id=self._entropy.uuid(), actor=_actor(by))
        )
        await self._shown(made.revision)
        return self._directory.tenant(name), made.is_new

    async def delete_tenant(self, name: str, *, force: bool, by: Principal | None = None) -> None:
        """Delete a tenant with all that is its.

        Raises: Refused: there is no such tenant, or it still has tables and `force` is false.
        """
        gone = await self._ask(DeleteTenant(name=name, force=force, actor=_actor(by)))
        await self._shown(gone.revision)

    async def create_table(
        self,
        tenant_name: str,
        name: str,
        *,
        id_type: IdType,
        factor: int | None = None,
        by: Principal | None = None,
    ) -> tuple[Table, bool]:
        """Create a v1 table. Returns: it, and whether it is new.

        `factor` is `TableSettings.replication_factor`.

        Raises: Refused: a bad name or factor, no such tenant, a different table of that name.
        """
        validate_table_name(name)
        made = await self._ask(
            CreateTable(
                tenant=tenant_name,
                name=name,
                table_id=self._entropy.uuid(),
                id_type=id_type,
                actor=_actor(by),
                tenant_id=_tenant_id(by),
                replication_factor=factor,
            )
        )
        return await self._made(made), made.is_done

    async def declare_table(
        self, tenant_name: str, declared: Declared, *, by: Principal | None = None
    ) -> Table:
        """Create a DynamoDB table.

        Raises: Refused: a bad name, no such tenant, or there is a table of that name.
        """
        validate_table_name(declared.name)
        made = await self._ask(
            DeclareTable(
                tenant=tenant_name,
                name=declared.name,
                table_id=self._entropy.uuid(),
                partition=_stored(declared.partition),
                sort=None if declared.sort is None else _stored(declared.sort),
                settings=declared.settings,
                actor=_actor(by),
                tenant_id=_tenant_id(by),
            )
        )
        return await self._made(made)

    async def set_table(
        self,
        tenant_name: str,
        name: str,
        change: Callable[[TableDefinition], TableSettings],
        *,
        by: Principal | None = None,
    ) -> Table:
        """Set a table's settings to what `change`, which is pure, makes of its definition.

        Raises: Refused: there is no such table; what `change` raises, and then nothing changed.
            Unavailable: others change it all the time; nothing was changed.
        """
        before = self._directory.table(tenant_name, name).definition
        for _ in range(SETTINGS_ROUNDS_MAX):
            settings = await in_thread(partial(change, before))  # a request may state very much
            changed = await self._ask(
                SetTable(
                    tenant=tenant_name,
                    name=name,
                    table_id=before.table_id,
                    expected=before.settings,
                    settings=settings,
                    actor=_actor(by),
                )
            )
            if changed.is_done:
                await self._shown(changed.revision)
                return self._table_of(changed)
            before = _definition_of(changed)
        raise Unavailable(
            UnavailableKind.OVERLOADED,
            "The table is being changed by others all the time; nothing was changed. Retry.",
            retry_after_ms=RETRY_AFTER_MS,
        )

    async def delete_table(
        self, tenant_name: str, name: str, *, by: Principal | None = None
    ) -> Table:
        """Delete a table. Returns: what it was. Raises: Refused: there is none, or protected."""
        table = self._directory.table(tenant_name, name)
        gone = await self._ask(
            DeleteTable(
                tenant=tenant_name,
                name=name,
                table_id=table.definition.table_id,
                actor=_actor(by),
            )
        )
        await self._shown(gone.revision)
        return table

    # ---------------------------------------------------------------------------- asking control

    async def _ask(self, request: PeerRequest[Reply]) -> Reply:
        """Have control change something; once more if an answer was lost, since that is harmless.

        Raises: what control raises. Unknown: it may have been done.
        """
        until_ns = self._clock.monotonic_ns() + int(PROXY_CHANGE_TIMEOUT_S * NS_PER_S)
        problem: Unknown | None = None
        while True:
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if problem is not None and left_s < _DEADLINE_S_MIN:
                raise problem
            try:
                return await self._control.call(request, deadline_s=max(left_s, _DEADLINE_S_MIN))
            except Unknown as error:
                problem = error
                await asyncio.sleep(PROXY_RETRY_S_MAX)
            except Unavailable as error:
                _raise_either(problem, error)

    async def _shown(self, revision: int) -> None:
        """Wait until the own view shows a change, a while.

        Raises: Unknown: it does not. The change is made all the same, so it must not be said to
            have failed; a repetition finds it made.
        """
        try:
            async with asyncio.timeout(PROXY_VIEW_TIMEOUT_S):
                await self._watcher.reached(Revision(revision))
        except TimeoutError:
            raise Unknown(
                "Control has made the change, and this proxy does not see it yet; look again."
            ) from None

    async def _made(self, made: TableChanged) -> Table:
        """Wait until every node has its part of a table that was made, and find it.

        One that takes longer can be used as far as it is there; its other requests wait for it.
        """
        await self._shown(made.revision)
        with suppress(TimeoutError):
            async with asyncio.timeout(PROXY_TABLE_TIMEOUT_S):
                while self._is_in_making(made):
                    await self._watcher.reached(Revision(self._watcher.view.revision + 1))
        return self._table_of(made)

    def _is_in_making(self, made: TableChanged) -> bool:
        shown = self._watcher.view.table(made.tenant, made.name)
        return (
            shown is not None
            and shown.definition.table_id == made.table_id
            and shown.status is ResourceStatus.CREATING
        )

    def _table_of(self, changed: TableChanged) -> Table:
        """Find the table that control answered with. Raises: Refused: it is gone already."""
        found = self._directory.table(changed.tenant, changed.name)
        if found.definition.table_id != changed.table_id:
            raise no_such("table", changed.name)
        return found


def _raise_either(problem: Unknown | None, error: Unavailable) -> NoReturn:
    """Raise what is true of all attempts: that nothing was done is, only if none was unknown."""
    raise error if problem is None else problem


def _actor(by: Principal | None) -> str:
    return "" if by is None else by.credential


def _tenant_id(by: Principal | None) -> str:
    return "" if by is None else by.tenant_id


def _definition_of(changed: TableChanged) -> TableDefinition:
    return decode_definition(
        changed.definition,
        tenant=changed.tenant,
        name=changed.name,
        table_id=TableId(changed.table_id),
    )


def _stored(key: KeyAttribute) -> StoredKey:
    return StoredKey(key.name, key.kind)
