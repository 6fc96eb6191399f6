"""Who gets into a cluster of real processes, and what a stolen disk is worth.

All tests share one cluster of a node and a proxy; components that are added are not let in, or are
removed again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, DStoreError, Unavailable
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.port import PeerRequest
from dstore.replication.peers.websocket import websocket_peer
from dstore.security.certificates import CertificateAuthority, new_key_and_request
from dstore.security.control_key import CONTROL_KEY_FILE, Sealed, load_or_create
from dstore.security.envelope import WrongKey
from dstore.security.identity import ComponentRole, Identity
from dstore.security.join_tokens import parse_join_token
from dstore.security.keys import ControlShare
from dstore.security.tls import Credentials, TlsContexts, load_credentials, store_credentials
from dstore.service.calls.key_calls import KEY_CALLS, AskTenantShares
from dstore.service.calls.range_calls import RANGE_CALLS, ReadEntry
from dstore.service.enrolment.records import load_enrolments
from dstore.storage.control import planes, tenants
from dstore.storage.control.components import NODES
from dstore.storage.control.opening import open_store
from dstore.storage.node_keys import KEY_FILE
from dstore.storage.node_keys import load_or_create as load_node_keys
from dstore.storage.table_records import NODE_FILE
from tests.support.canaries import found
from tests.support.cluster import Cluster, eventually, running_cluster
from tests.support.cluster_plan import Shape
from tests.support.http_client import Client
from tests.support.ports import lasting_ports
from tests.support.server import Server, ServerEnded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster_parts import Component

CANARY: Final = "CanaryOfTheCluster"
TABLE: Final = "/v1/tenant/default/table/SecretsOfTheCluster"
NAMES: Final = (CANARY, "SecretsOfTheCluster")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster_joining"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run a small cluster that holds something worth stealing."""
    with running_cluster(Shape(nodes=1, proxies=1)) as started:
        with started.client() as client:
            assert client.put(TABLE, {"idType": "String"}).status == 201
            eventually(
                lambda: client.put(f"{TABLE}/id/{CANARY}", {"hidden": CANARY}).status == 201,
                what="the table takes entries",
            )
        yield started
        started.stop()


@pytest.fixture
def newcomer(cluster: Cluster) -> Iterator[Component]:
    """Prepare a node that has not joined, and forget it afterwards."""
    with cluster.guest("node") as component:
        yield component


def _refused(component: Server) -> str:
    """Start what must not start. Returns: the line that it says to its operator."""
    with pytest.raises(ServerEnded) as ended:
        component.start()
    said = [line for line in ended.value.stderr.splitlines() if line.startswith("dstore: ")]
    assert "Traceback" not in ended.value.stderr
    assert len(said) == 1, ended.value.stderr
    return said[0]


def _are_active(cluster: Cluster, role: str) -> bool:
    return {one["state"] for one in cluster.listed(role)} == {"active"}


@pytest.mark.parametrize("role", ["node", "proxy"])
def test_who_joined_is_active(cluster: Cluster, role: str) -> None:
    """`joining` is said of what has never asked for its key; a proxy asks as a node does."""
    eventually(partial(_are_active, cluster, role), what=f"every {role} is active")


def test_a_token_admits_once(cluster: Cluster, newcomer: Component) -> None:
    """Whoever finds a token that was used gets nothing for it, and hears why."""
    token = cluster.join_token("node")
    newcomer.give_token(token)
    newcomer.start()
    node = next(
        one for one in cluster.listed("node") if str(newcomer.place.peer_port) in one["url"]
    )
    assert newcomer.stop() == 0
    with cluster.guest("node") as second:
        second.give_token(token)
        assert "used" in _refused(second)
    with cluster.admin() as admin:
        assert admin.delete(f"/admin/v1/node/{node['id']}").status in {200, 202, 204}
    assert "removed" in _refused(newcomer)


@pytest.mark.parametrize("kind", ["forged", "expired", "of another role", "of another authority"])
def test_a_token_that_is_not_good(cluster: Cluster, newcomer: Component, kind: str) -> None:
    """Each is refused with its own sentence, on the side that can act, and admits nobody."""
    before = len(cluster.listed("node"))
    role = "proxy" if kind == "of another role" else "node"
    token = parse_join_token(cluster.join_token(role, life_s=1 if kind == "expired" else None))
    if kind == "forged":
        token = replace(token, secret=bytes(len(token.secret)))
    if kind == "of another authority":
        token = replace(token, fingerprint="0" * len(token.fingerprint))
    if kind == "expired":
        eventually(
            lambda: SystemClock().wall_us() > token.expires_at_us, what="the token has ended"
        )
    newcomer.give_token(token.text())
    said = _refused(newcomer)
    word = {
        "forged": "token",
        "expired": "expired",
        "of another role": "proxy",
        "of another authority": "authority",
    }[kind]
    assert word in said, said
    assert token.text() not in said
    assert len(cluster.listed("node")) == before


async def _called(
    directory: Path, here: Identity, *, at: str, wanted: Identity, request: PeerRequest[Any]
) -> object:
    clock = SystemClock()
    peer = websocket_peer(
        at,
        here=here,
        wanted=wanted,
        tls=TlsContexts(directory),
        calls=Calls([*KEY_CALLS, *RANGE_CALLS]),
        clock=clock,
        entropy=SystemEntropy(),
    )
    try:
        return await peer.call(request, deadline_s=5)
    finally:
        await peer.close()


def _identity(cluster: Cluster, name: str) -> Identity:
    (enrolment,) = load_enrolments(cluster.component(name).data)
    return enrolment.identity


async def test_a_certificate_of_another_control_plane(cluster: Cluster, tmp_path: Path) -> None:
    """Whoever makes an authority of the same name is still nobody here, and the node says so."""
    clock, entropy = SystemClock(), SystemEntropy()
    node, proxy = _identity(cluster, "node-1"), _identity(cluster, "proxy-1")
    (enrolment,) = load_enrolments(cluster.component("proxy-1").data)
    genuine = load_credentials(enrolment.directory)
    assert genuine is not None
    forger = CertificateAuthority.create(
        proxy.control_plane, now_us=clock.wall_us(), entropy=entropy
    )
    pair = new_key_and_request(entropy)
    store_credentials(
        tmp_path,
        Credentials(
            key_pem=pair.key_pem,
            certificate_pem=forger.issue(
                pair.request_pem, proxy, now_us=clock.wall_us(), entropy=entropy
            ),
            authorities_pem=genuine.authorities_pem,
        ),
    )
    component = cluster.component("node-1")
    url = f"https://127.0.0.1:{component.place.peer_port}"
    with pytest.raises(DStoreError):
        await _called(
            tmp_path,
            proxy,
            at=url,
            wanted=node,
            request=ReadEntry(range_id="r", epoch=1, rid_id=b"1234567"),
        )
    assert "handshake" in component.said(), "the node's log tells"


async def test_a_proxy_may_not_ask_for_a_nodes_keys(cluster: Cluster) -> None:
    """Same authority is not same role: shares of tenants are for nodes (I4)."""
    (enrolment,) = load_enrolments(cluster.component("proxy-1").data)
    (control,) = cluster.listed("control")
    with pytest.raises(DStoreError) as refused:
        await _called(
            enrolment.directory,
            enrolment.identity,
            at=enrolment.controls[0],
            wanted=replace(enrolment.identity, role=ComponentRole.CONTROL, uuid=str(control["id"])),
            request=AskTenantShares(("default",)),
        )
    assert "proxy" in str(refused.value)


def test_a_node_waits_for_control(cluster: Cluster) -> None:
    """I4: without control's share a node's own disk opens nothing; it says so, and waits."""
    node, control = cluster.component("node-1"), cluster.component("control-1")
    node.kill()
    control.kill()
    node.launch()
    eventually(lambda: "control" in node.health()[1], what="the node says what it waits for")
    assert node.health()[0] == 503
    with cluster.client() as client:
        assert client.get(f"{TABLE}/id/{CANARY}").status == 503
    control.start()
    node.wait_ready()
    with cluster.client() as client:
        eventually(
            lambda: client.get(f"{TABLE}/id/{CANARY}").status == 200, what="the entry is served"
        )


def test_two_components_of_one_identity(cluster: Cluster, tmp_path: Path) -> None:
    """A copy of a node's directory does not serve beside the node: the second one stands back."""
    node = cluster.component("node-1")
    with cluster.guest("node") as copy:
        shutil.copytree(node.data, copy.data)
        copy.launch()
        eventually(
            lambda: "another process has this node's UUID" in copy.health()[1],
            what="the copy stands back",
        )
        with cluster.client() as client:
            assert client.get(f"{TABLE}/id/{CANARY}").status == 200
            assert client.post(f"{TABLE}/id/{CANARY}", {"hidden": CANARY}).status == 200
        assert copy.health()[0] == 503
    assert node.health()[0] == 200


@pytest.mark.parametrize(
    ("name", "awaited"), [("node-1", "locked"), ("proxy-1", "control")], ids=["node", "proxy"]
)
def test_a_stolen_disk(cluster: Cluster, tmp_path: Path, name: str, awaited: str) -> None:
    """I4: one component's directory, cut off from all others, opens and serves nothing."""
    component = cluster.component(name)
    with cluster.guest(component.place.role) as thief:
        shutil.copytree(component.data, thief.data)
        _cut_off(thief)
        thief.launch()
        eventually(lambda: awaited in thief.health()[1], what="it says what it waits for")
        assert thief.health()[0] == 503
        if component.place.role == "proxy":
            with Client(thief.place.public_url, token=cluster.operator_token) as client:
                assert client.get(f"{TABLE}/id/{CANARY}").status == 503
        assert CANARY not in thief.said() + thief.printed()


async def test_controls_stolen_disk(cluster: Cluster, tmp_path: Path) -> None:
    """I4: control's directory, its key beside it, has shares only: no file of a tenant opens."""
    control, node = cluster.component("control-1"), cluster.component("node-1")
    (told, *_) = control.events("control_key_beside_store")
    assert "control.key_file" in told["reason"]
    data = tmp_path / "control"
    shutil.copytree(control.data, data)
    assert found([path for path in data.rglob("*") if path.is_file()], [CANARY]) == []
    assert not (data / "ranges").exists()
    # With all that is to be had of it, and with a node's files but for the node's own key:
    entropy = SystemEntropy()
    key = load_or_create(data / CONTROL_KEY_FILE, may_create=False, entropy=entropy)
    store = await open_store("sqlite", directory=data, on_fatal=_raise)
    async with store.snapshot() as tx:
        plane = await planes.get(tx)
        record = await NODES.get(tx, _identity(cluster, "node-1").uuid)
        (tenant, *_) = (await tenants.page(tx)).records
    await store.close()
    assert plane is not None
    assert record is not None
    shares = [
        ControlShare(control_plane=plane.uuid, key=opened)
        for opened in (
            key.open_key(record.sealed_key, what=Sealed.NODE, record_id=record.uuid),
            key.open_key(tenant.sealed_key, what=Sealed.TENANT, record_id=tenant.uuid),
        )
    ]
    stolen = tmp_path / "node"
    shutil.copytree(node.data, stolen)
    (stolen / KEY_FILE).unlink()
    for some in (shares, shares[:1], shares[1:]):
        with pytest.raises(Corrupt, match=KEY_FILE):
            load_node_keys(stolen, database=stolen / NODE_FILE, entropy=entropy, shares=some)
    shutil.copy(cluster.component("proxy-1").data / "proxy.key", stolen / KEY_FILE)
    for some in (shares, shares[:1], shares[1:]):
        with pytest.raises((Corrupt, WrongKey, Unavailable)):
            load_node_keys(stolen, database=stolen / NODE_FILE, entropy=entropy, shares=some)


def _raise(error: BaseException) -> None:
    raise error


def _cut_off(thief: Component) -> None:
    """Let a component find neither control nor etcd."""
    nowhere = lasting_ports(1)[0]
    (file,) = thief.data.glob("enrolments/*/enrolment.json")
    enrolment = json.loads(file.read_text())
    file.write_text(json.dumps(enrolment | {"controls": [f"https://127.0.0.1:{nowhere}"]}))
    assert thief.config is not None
    settings = re.sub(
        r"endpoints = .*", f'endpoints = ["127.0.0.1:{nowhere}"]', thief.config.read_text()
    )
    thief.config.write_text(settings)


def test_nothing_readable_lies_anywhere(cluster: Cluster) -> None:
    """I2, over all roles: no content of an entry is in any file, of etcd and of logs neither."""
    files = [path for path in cluster.directory.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert found(files, [CANARY]) == []
