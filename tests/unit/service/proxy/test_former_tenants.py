"""A tenant's name is given again once it is free; what was of the former one opens nothing (I11).

A proxy hears of tenants from the topology and of credentials from control, and either may be late.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import RefusalKind, Refused, Unavailable
from dstore.model.tables import IdType
from dstore.security.credentials import AccessKey, AccessKeyId, new_access_key
from dstore.security.sigv4 import SignatureProblem, SignatureRefused, sign
from dstore.service.access import NO_MATCH, Principal, SignedRequest, require_same_tenant
from dstore.service.control.key_feed import KeyFeed
from dstore.service.deferred_store import DeferredWrite, Verb
from dstore.service.enrolment.credential_reader import CredentialReader
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.topology.status import TopologyState
from tests.support.proxies import ProxyCluster, proxy_cluster
from tests.unit.api.dynamodb.calling import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.service.calls.key_calls import AskCredentials, Credentials

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
BODY = hashlib.sha256(b"{}").hexdigest()


class FeedPeer:
    """Control's feed, asked by reference; `is_away` as when control cannot be reached."""

    def __init__(self, feed: KeyFeed) -> None:
        self.feed = feed

    async def call(self, request: AskCredentials, **_: Any) -> Credentials:
        self.feed.look_again()
        return await self.feed.given(request)


def signed(key: AccessKey) -> SignedRequest:
    """Sign a request as a client does."""
    headers = [("Host", "proxy"), ("X-Amz-Target", "DynamoDB_20120810.ListTables")]
    made = sign(
        method="POST",
        target="/",
        headers=headers,
        body_sha256=BODY,
        access_key=key,
        region="eu-west-1",
        service="dynamodb",
        now_us=CLOCK.wall_us(),
    )
    return SignedRequest(
        method="POST",
        target="/",
        headers=[
            (name.encode(), value.encode()) for name, value in [*headers, *dict(made).items()]
        ],
        body_sha256=BODY,
    )


def reader_of(cluster: ProxyCluster) -> CredentialReader:
    feed = KeyFeed(cluster.control.plane, clock=CLOCK)
    peer: Any = FeedPeer(feed)
    return CredentialReader(peer, cluster.proxy.credentials)


async def made(cluster: ProxyCluster) -> tuple[AccessKey, str]:
    """Make the tenant with a table, a key and a token of it. Returns: the two of them."""
    registrar, credentials = cluster.proxy.registrar, cluster.control.control.credentials
    await registrar.create_tenant(TENANT)
    await registrar.create_table(TENANT, "abc", id_type=IdType.STRING)
    record, secret = await credentials.create_access_key(TENANT, actor="op")
    _, token = await credentials.create_token(TENANT, actor="op")
    return AccessKey(id=AccessKeyId(record.id), secret=secret), token


def complaint(ask: Callable[[], object]) -> tuple[type, RefusalKind, str, object]:
    """Say all that a surface can see of a refusal."""
    with pytest.raises(Refused) as refused:
        ask()
    error = refused.value
    return type(error), error.kind, error.message, getattr(error, "problem", None)


async def test_a_key_of_a_deleted_tenant_does_not_open_the_next_one(tmp_path: Path) -> None:
    """As long as the proxy has not heard of the revocation it answers as to an unknown key."""
    async with proxy_cluster(tmp_path) as cluster:
        key, token = await made(cluster)
        reader, access = reader_of(cluster), cluster.proxy.access
        await reader.read()
        first = access.signature(signed(key))
        assert first.tenant_id == cluster.proxy.directory.tenant(TENANT).uuid
        assert access.bearer(f"Bearer {token}").tenant_id == first.tenant_id
        await cluster.proxy.registrar.delete_tenant(TENANT, force=True)
        new_key, new_token = await made(cluster)
        assert cluster.proxy.directory.tenant(TENANT).uuid != first.tenant_id

        stranger = AccessKey(id=new_access_key(ENTROPY).id, secret=key.secret)
        _, kind, message, _ = complaint(lambda: access.signature(signed(stranger)))
        found = complaint(lambda: access.signature(signed(key)))
        assert found == (SignatureRefused, kind, message, SignatureProblem.UNKNOWN_KEY)
        assert message == NO_MATCH
        assert complaint(lambda: access.check_known(signed(key))) == complaint(
            lambda: access.check_known(signed(stranger))
        )
        assert complaint(lambda: access.bearer(f"Bearer {token}")) == complaint(
            lambda: access.bearer("Bearer dst_unknown")
        )

        await reader.read()
        assert access.signature(signed(new_key)).tenant == TENANT
        assert access.bearer(f"Bearer {new_token}").tenant == TENANT
        complaint(lambda: access.signature(signed(key)))


async def test_a_key_of_the_next_tenant_waits_for_the_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where control was heard first, the new key is unknown, and works once the view has come."""
    async with proxy_cluster(tmp_path) as cluster:
        await made(cluster)
        former = cluster.watcher.view
        await cluster.proxy.registrar.delete_tenant(TENANT, force=True)
        key, token = await made(cluster)
        await reader_of(cluster).read()
        access = cluster.proxy.access
        with monkeypatch.context() as patched:
            patched.setattr(type(cluster.watcher), "view", property(lambda _: former))
            complaint(lambda: access.signature(signed(key)))
            complaint(lambda: access.bearer(f"Bearer {token}"))
        assert access.signature(signed(key)).tenant == TENANT
        assert access.bearer(f"Bearer {token}").tenant == TENANT


async def test_an_old_copy_of_the_topology_denies_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that started without etcd does not call a key unknown that may be the new one's."""
    async with proxy_cluster(tmp_path) as cluster:
        await made(cluster)
        stale: Any = cluster.watcher
        status = stale.status()
        other = Principal(tenant=TENANT, credential="DSAK", tenant_id=ENTROPY.uuid())
        directory = ViewDirectory(stale)
        with pytest.raises(Refused):
            require_same_tenant(other, directory)
        monkeypatch.setattr(type(stale), "status", lambda _: replace(status, state=OLD))
        with pytest.raises(Unavailable):
            require_same_tenant(other, directory)
        same = Principal(tenant=TENANT, credential="DSAK", tenant_id=directory.tenant(TENANT).uuid)
        require_same_tenant(same, directory)


OLD = next(state for state in sorted(TopologyState) if state is not TopologyState.LIVE)


async def test_a_former_tenants_client_makes_no_table_in_the_next_one(tmp_path: Path) -> None:
    """Control decides by the UUID, since the proxy that asks it may see the former tenant yet."""
    async with proxy_cluster(tmp_path) as cluster:
        registrar = cluster.proxy.registrar
        await made(cluster)
        former = Principal(
            tenant=TENANT,
            credential="DSAK",
            tenant_id=cluster.proxy.directory.tenant(TENANT).uuid,
        )
        await registrar.create_table(TENANT, "own", id_type=IdType.STRING, by=former)
        await registrar.delete_tenant(TENANT, force=True)
        await made(cluster)
        with pytest.raises(Refused) as refused:
            await registrar.create_table(TENANT, "alien", id_type=IdType.STRING, by=former)
        assert refused.value.kind is RefusalKind.NOT_FOUND
        assert list(cluster.proxy.directory.tenant(TENANT).tables) == ["abc"]


async def test_an_accepted_write_does_not_run_in_the_next_tenant(tmp_path: Path) -> None:
    """It is of its table, by the table's UUID, and is answered as one whose table is gone."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        table = cluster.proxy.directory.table(TENANT, "abc")
        await cluster.proxy.registrar.delete_tenant(TENANT, force=True)
        await made(cluster)
        [node] = cluster.nodes
        deferred = node.real.deferred
        request_id = await deferred.accept(
            DeferredWrite(
                tenant=TENANT,
                table="abc",
                table_id=table.definition.table_id,
                id="e1",
                verb=Verb.REPLACE,
                body=b'{"a": "of the former"}',
            )
        )
        async with asyncio.timeout(10):
            while await deferred.outcome(TENANT, request_id) is None:  # noqa: ASYNC110 - it is read
                await asyncio.sleep(0)
        outcome = await deferred.outcome(TENANT, request_id)
        assert outcome is not None
        assert outcome.error == RefusalKind.NOT_FOUND
        entry = cluster.proxy.items.locate(TENANT, "abc", "e1")
        assert await cluster.proxy.items.read(entry) is None
