"""Everything in one process: the use cases of clients over a node and a control beside them.

What there is, control says, through the topology; the entries are the node's own, asked by
reference, and what clients are known by comes from control's store as it changes there. So the
answers are those of a cluster, at a stand-alone node's pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.service.client_env import is_operators
from dstore.service.enrolment.credential_reader import CredentialReader
from dstore.service.entry_audit import EntryAudit
from dstore.service.items import Items
from dstore.service.proxy.proxy_access import ProxyAccess
from dstore.service.proxy.remote_registrar import RemoteRegistrar
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.service.range_walks import RangeWalks
from dstore.service.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.model.index_rows import IndexSizes
    from dstore.model.ranges import Table
    from dstore.replication.peers.port import Peer
    from dstore.service.access import Principal
    from dstore.service.control.credentials import ControlCredentials
    from dstore.service.control.key_feed import KeyFeed
    from dstore.service.node import Node
    from dstore.service.range_counts import RangeCounts
    from dstore.storage.control.records import AccessKeyRecord, BearerRecord
    from dstore.topology.watcher import TopologyWatcher

_ACTOR: Final = "dstore"  # who makes the first credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the use cases stand on.

    Attributes:
        node: open, in this process.
        watcher: of the topology, all of it.
        control: in this process, asked as a proxy.
        credentials: control's.
        feed: what control gives proxies of them.
        location: stands in RIDs.
    """

    node: Node
    watcher: TopologyWatcher
    control: Peer
    credentials: ControlCredentials
    feed: KeyFeed
    clock: Clock
    entropy: Entropy
    location: str


class WholeDirectory(ViewDirectory):
    """Tenants and tables as control has them; entries are counted where they are: here."""

    def __init__(self, watcher: TopologyWatcher, counts: RangeCounts, *, location: str) -> None:
        """Look at the view of `watcher`, and at the node's counts."""
        super().__init__(watcher, location=location)
        self._counts = counts

    def quantity(self, table: Table) -> int:
        """Count a table's entries: exactly if its files were opened by now, else as last noted."""
        return self._counts.quantity(table.ranges.refs)

    def size_bytes(self, table: Table) -> int:
        """Measure the databases of a table: their pages, or two look-ups in a folder each."""
        return self._counts.size_bytes(table.ranges.refs)

    def index_sizes(self, table: Table) -> IndexSizes:
        """Count what a table's local indexes have, as exactly as its entries."""
        return self._counts.index_sizes(table.ranges.refs)


class WholeRegistrar(RemoteRegistrar):
    """Has control change what there is; the credentials of a deleted tenant go at once."""

    def __init__(
        self, around: Surroundings, directory: ViewDirectory, credentials: WholeCredentials
    ) -> None:
        """Ask the control of `around`."""
        super().__init__(
            around.control,
            watcher=around.watcher,
            directory=directory,
            clock=around.clock,
            entropy=around.entropy,
        )
        self._credentials = credentials

    async def delete_tenant(self, name: str, *, force: bool, by: Principal | None = None) -> None:
        """Delete a tenant; see `RemoteRegistrar`."""
        await super().delete_tenant(name, force=force, by=by)
        await self._credentials.follow()


class WholeCredentials:
    """Control's credentials; whoever has changed them finds the change in force.

    Its methods are `ControlCredentials`'.
    """

    def __init__(
        self, credentials: ControlCredentials, feed: KeyFeed, reader: CredentialReader
    ) -> None:
        """Change `credentials`, and have `reader` read what `feed` then gives."""
        self._credentials = credentials
        self._feed = feed
        self._reader = reader

    async def follow(self) -> None:
        """Take into use what control's store has now.

        Raises: Unavailable: it can't be read; the next look, within a second or so, makes up.
        """
        self._feed.look_again()
        await self._reader.read()

    async def access_keys(self, tenant: str) -> Sequence[AccessKeyRecord]:
        """List a tenant's access keys, oldest first."""
        return await self._credentials.access_keys(tenant)

    async def create_access_key(self, tenant: str, *, actor: str) -> tuple[AccessKeyRecord, str]:
        """Make an access key. Returns: it, and its secret, to be shown once."""
        made = await self._credentials.create_access_key(tenant, actor=actor)
        await self.follow()
        return made

    async def import_access_key(
        self, tenant: str, key_id: str, secret: str, *, actor: str
    ) -> AccessKeyRecord:
        """Store a given access key."""
        made = await self._credentials.import_access_key(tenant, key_id, secret, actor=actor)
        await self.follow()
        return made

    async def delete_access_key(self, tenant: str, key_id: str, *, actor: str) -> None:
        """Revoke an access key, at once."""
        await self._credentials.delete_access_key(tenant, key_id, actor=actor)
        await self.follow()

    async def tokens(self, tenant: str | None) -> Sequence[BearerRecord]:
        """List a tenant's or the operator's tokens, oldest first."""
        return await self._credentials.tokens(tenant)

    async def create_token(self, tenant: str | None, *, actor: str) -> tuple[BearerRecord, str]:
        """Make a token. Returns: it, and its text, to be shown once."""
        made = await self._credentials.create_token(tenant, actor=actor)
        await self.follow()
        return made

    async def delete_token(self, tenant: str | None, token_id: str, *, actor: str) -> None:
        """Revoke a token, at once."""
        await self._credentials.delete_token(tenant, token_id, actor=actor)
        await self.follow()


class WholeKeeper:
    """The `client_env.Keeper` of a process that is everything."""

    def __init__(self, whole: Whole, around: Surroundings) -> None:
        """Keep credentials in control's store, and in the node what the file holds of them."""
        self._whole = whole
        self._node = around.node
        self._credentials = around.credentials

    async def settings(self) -> dict[str, str]:
        """See `Keeper`."""
        return await self._node.settings()

    async def set_setting(self, name: str, value: str) -> None:
        """See `Keeper`."""
        await self._node.set_setting(name, value)

    def is_operators(self, token: str) -> bool:
        """See `Keeper`."""
        return is_operators(self._whole.access, token)

    async def create_token(self) -> tuple[str, str]:
        """See `Keeper`."""
        record, text = await self._whole.credentials.create_token(None, actor=_ACTOR)
        return record.id, text

    async def delete_token(self, token_id: str) -> None:
        """See `Keeper`."""
        await self._whole.credentials.delete_token(None, token_id, actor=_ACTOR)

    async def create_access_key(self, tenant: str) -> str:
        """See `Keeper`."""
        await self._whole.registrar.create_tenant(tenant)
        record, _ = await self._whole.credentials.create_access_key(tenant, actor=_ACTOR)
        return record.id

    async def secret_of(self, tenant: str, key_id: str) -> str | None:
        """See `Keeper`."""
        return await self._credentials.secret_of(tenant, key_id)


class Whole:
    """The `use_cases.UseCases` of a process that is everything. Used from one event loop."""

    def __init__(self, around: Surroundings) -> None:
        """Wire the use cases; `credentials.follow` fills `access`."""
        node, clock = around.node, around.clock
        self.directory = WholeDirectory(
            around.watcher, node.holdings.counts, location=around.location
        )
        self.access = ProxyAccess(self.directory, clock=clock, entropy=around.entropy)
        self.reader = CredentialReader(around.control, self.access)
        self.credentials = WholeCredentials(around.credentials, around.feed, self.reader)
        self.registrar = WholeRegistrar(around, self.directory, self.credentials)
        self.walks = RangeWalks(self.directory, node.ranges)
        self.items = Items(self.directory, node.ranges, self.walks)
        self.tables = Tables(self.registrar, clock)
        self.deferred = node.deferred
        self.entry_audit = EntryAudit()
