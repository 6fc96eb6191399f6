"""Control at a real TLS listener on loopback, and components that join it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from aiohttp import web

from dstore.api.http.application import build_application
from dstore.api.peer.joining import JoinRoutes
from dstore.api.peer.server import PeerServer, watched_handshakes
from dstore.base.clock import NS_PER_US, SystemClock
from dstore.base.limits import JOIN_TOKEN_LIFE_S
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.replication.peers.calls import Methods
from dstore.security.control_key import ControlKey, Sealed
from dstore.security.identity import ComponentRole
from dstore.security.join_tokens import parse_join_token
from dstore.security.keys import ControlShare, new_key
from dstore.security.tls import TlsContexts
from dstore.service.calls.key_calls import AskComponentKey
from dstore.service.control.admission import Admissions
from dstore.service.control.key_feed import KeyFeed
from dstore.service.control.key_methods import KeyMethods
from dstore.service.control.membership import Memberships
from dstore.service.control.plane import ControlPlane, open_plane, own_credentials, register_control
from dstore.service.control.roster import Roster
from dstore.service.control.shares import TenantShareGiver
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.service.enrolment.joining import Offer, join
from dstore.service.enrolment.membership import Membership
from dstore.service.enrolment.records import Enrolment
from dstore.storage.control import credentials, tables, tenants
from dstore.storage.control.opening import open_store
from dstore.storage.control.records import AccessKeyRecord, NodeUuid
from tests.support import control_records as records
from tests.support.entropy import SeededEntropy

ENTROPY: Final = SeededEntropy(Random(4))
CONTROL_KEY: Final = ControlKey(key=new_key(ENTROPY))
OFFER: Final = Offer(uri="https://127.0.0.1:8001", zone="a", capacity_bytes=1 << 40, version="0.1")


class SetClock(SystemClock):
    """A clock that somebody sets while it runs."""

    __slots__ = ("ahead_us",)

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    def wall_us(self) -> int:
        return super().wall_us() + self.ahead_us

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + max(0, self.ahead_us) * NS_PER_US


@dataclass(kw_only=True)
class Control:
    """A running control process."""

    plane: ControlPlane
    admissions: Admissions
    memberships: Memberships
    feed: KeyFeed
    roster: Roster
    clock: SetClock
    url: str = ""
    failures: list[BaseException] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.url.removeprefix("https://")

    async def token(
        self, role: ComponentRole = ComponentRole.NODE, *, life_s: int = JOIN_TOKEN_LIFE_S
    ) -> str:
        """Make a join token that leads here."""
        made = await self.admissions.create_token(role, addresses=[self.address], life_s=life_s)
        return made.text

    async def add_table(self, tenant: str, *, node: str, name: str = "orders") -> bytes:
        """Make a tenant with a table on a node. Returns: the tenant's share."""
        share, table = new_key(ENTROPY), records.table(name, tenant=tenant)
        uuid = f"uuid-of-{tenant}"
        sealed = self.plane.control_key.seal_key(
            share, what=Sealed.TENANT, record_id=uuid, entropy=ENTROPY
        )
        async with self.plane.store.transaction() as tx:
            await tenants.insert(tx, replace(records.tenant(tenant), sealed_key=sealed))
            placed = replace(records.whole_range(table), node=NodeUuid(node))
            await tables.insert(tx, table, [placed])
        return share

    async def add_access_key(self, key_id: str, *, tenant: str, secret: str) -> AccessKeyRecord:
        """Store an access key of a tenant that exists."""
        record = AccessKeyRecord(
            id=key_id,
            tenant=tenant,
            sealed_secret=self.plane.control_key.seal(
                secret.encode(), what=Sealed.ACCESS_KEY, record_id=key_id, entropy=ENTROPY
            ),
            created_at_us=self.clock.wall_us(),
        )
        async with self.plane.store.transaction() as tx:
            await credentials.insert_access_key(tx, record)
        return record

    async def revoke_access_key(self, key_id: str) -> None:
        async with self.plane.store.transaction() as tx:
            assert await credentials.delete_access_key(tx, key_id)


@asynccontextmanager
async def control(
    directory: Path,
    *,
    process: str = "control",
    clock: SetClock | None = None,
    port: int = 0,
    beat_s: float = 0.2,
) -> AsyncIterator[Control]:
    """Run a control process; two of them on one directory share its store."""
    clock = clock or SetClock()
    own = directory / process
    own.mkdir(exist_ok=True, parents=True)
    failures: list[BaseException] = []
    async with AsyncExitStack() as stack:
        store = await open_store(
            f"sqlite:{directory / 'control.db'}", directory=directory, on_fatal=failures.append
        )
        stack.push_async_callback(store.close)
        plane = await open_plane(
            store, CONTROL_KEY, directory=own, location="NA", clock=clock, entropy=ENTROPY
        )
        await own_credentials(plane, own, clock=clock, entropy=ENTROPY)
        tls = TlsContexts(own)
        running = Control(
            plane=plane,
            admissions=Admissions(plane, clock=clock, entropy=ENTROPY),
            memberships=Memberships(plane, clock=clock, entropy=ENTROPY),
            feed=KeyFeed(plane, clock=clock),
            roster=Roster(store, clock=clock),
            clock=clock,
            failures=failures,
        )
        tasks = Tasks(failures.append)
        stack.push_async_callback(tasks.close)
        running.url = await _listen(
            running, tls, tasks=tasks, stack=stack, port=port, beat_s=beat_s
        )
        await register_control(
            plane,
            uri=running.url,
            version="0.1",
            certificate_serial=tls.certificate.serial,
            now_us=clock.wall_us(),
        )
        await running.roster.refresh()
        tasks.spawn(running.roster.run(), name="roster", critical=True)
        yield running
    assert failures == []


async def _listen(
    running: Control,
    tls: TlsContexts,
    *,
    tasks: Tasks,
    stack: AsyncExitStack,
    port: int,
    beat_s: float,
) -> str:
    answered = KeyMethods(
        memberships=running.memberships,
        shares=TenantShareGiver(running.plane),
        verdicts=HoldingVerdicts(running.plane),
        feed=running.feed,
        roster=running.roster,
    ).answered()
    server = PeerServer(
        Methods(answered),
        here=running.plane.identity,
        clock=running.clock,
        tasks=tasks,
        barred=running.roster.barred,
        beat_s=beat_s,
    )
    joining = JoinRoutes(running.admissions, clock=running.clock)
    application = build_application(
        (*server.routes, *joining.routes),
        surface="peer",
        metrics=create_metrics(),
        entropy=ENTROPY,
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(server.drain, timeout_s=0.0)
    context = watched_handshakes(tls.joining_server)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    return f"https://127.0.0.1:{runner.addresses[0][1]}"


async def joined(
    directory: Path,
    at: Control,
    *,
    role: ComponentRole = ComponentRole.NODE,
    clock: SetClock | None = None,
) -> Enrolment:
    """Join a control plane as a new component."""
    return await join(
        empty(directory),
        await at.token(role),
        role=role,
        offer=OFFER,
        clock=clock or SetClock(),
        entropy=ENTROPY,
    )


@asynccontextmanager
async def member(
    enrolment: Enrolment, *, clock: SetClock | None = None
) -> AsyncIterator[Membership]:
    """Open a membership; nothing runs in the background."""
    opened = await Membership.open(enrolment, clock=clock or SetClock(), entropy=ENTROPY)
    try:
        yield opened
    finally:
        await opened.close()


async def component_share(of: Membership, *, deadline_s: float = 10.0) -> ControlShare:
    """Ask control for a component's own key."""
    given = await of.control.call(AskComponentKey(), deadline_s=deadline_s)
    return given.share(of.enrolment.control_plane)


def forged(text: str, **changes: Any) -> str:
    """Change what a join token says."""
    return replace(parse_join_token(text), **changes).text()


def empty(directory: Path) -> Path:
    """Make a component's data directory."""
    directory.mkdir(exist_ok=True)
    return directory
