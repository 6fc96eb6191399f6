"""The control role over a real etcd: its first start, its admin API, its restart."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dstore.api.http.admission import Admission
from dstore.api.http.listener import Listener
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Refused
from dstore.roles.base import Runtime, Surface
from dstore.roles.control import CONTROL
from dstore.roles.registry import compose
from dstore.security.join_tokens import parse_join_token
from dstore.service.client_env import Addresses
from dstore.settings import Settings, load
from tests.support.etcd import EtcdServer, running
from tests.support.http_client import Client
from tests.support.ports import lasting_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("etcd")
_READY_S = 20.0


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give a real etcd."""
    with running(EtcdServer(directory=tmp_path_factory.mktemp("etcd"))) as server:
        yield server


@pytest.fixture
def settings(etcd: EtcdServer, tmp_path: Path) -> Settings:
    """Give the settings of a control, with a namespace of its own."""
    return load(
        flags={
            "data": tmp_path,
            "location": "EU",
            "peer_port": lasting_port(),
            "etcd_endpoints": (etcd.address,),
            "etcd_namespace": f"{tmp_path.name}/",
        }
    )


class Operator(Client):
    """The usual client, which says where it goes and with what."""

    def __init__(self, url: str, *, token: str) -> None:
        super().__init__(url, token=token)
        self.url = url
        self.token = token


@asynccontextmanager
async def control_of(settings: Settings, *, waits: bool = True) -> AsyncIterator[Operator]:
    """Run a control in this process. Yields: its operator's client, once it leads if `waits`."""
    failures: list[BaseException] = []
    metrics, clock = create_metrics(), SystemClock()
    runtime = Runtime(
        settings=settings,
        clock=clock,
        entropy=SystemEntropy(),
        metrics=metrics,
        admission=Admission(metrics),
        role_names=("control",),
        started_at_us=clock.wall_us(),
        on_fatal=failures.append,
        tasks=Tasks(failures.append),
    )
    composition = await compose((CONTROL,), runtime)
    peer_port = {Surface.PEER: settings.peer_port}
    listeners = {
        surface: Listener(
            application,
            host="127.0.0.1",
            port=peer_port.get(surface, 0),
            tls_context=composition.contexts.get(surface),
        )
        for surface, application in composition.applications.items()
    }
    try:
        for listener in listeners.values():
            await listener.start()
        admin = listeners[Surface.ADMIN].url
        peers = settings.peer_url_at(settings.peer_port)
        (file,) = await composition.announce(Addresses(admin_url=admin, peer_url=peers))
        composition.begin()
        variables = dict(line.split("=", 1) for line in file.read_text().splitlines())
        assert variables["DSTORE_ADMIN_URL"] == admin
        with Operator(admin, token=variables["DSTORE_TOKEN"]) as client:
            if waits:
                await _ready(client)
            yield client
    finally:
        for listener in listeners.values():
            await listener.stop(timeout_s=1.0)
        await composition.drain(1.0)
        await composition.close()
    assert failures == []


async def asked(client: Client, method: str, path: str, body: object = None) -> Any:
    """Ask beside the loop, on which control runs. Returns: the answer's JSON."""
    answer = await asyncio.to_thread(client.request, method, path, body)
    assert answer.status < 300, answer.body
    return answer.json() if answer.body else None


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_READY_S):
        while not await holds():  # noqa: ASYNC110 - it asks over HTTP
            await asyncio.sleep(0.02)


async def _ready(client: Client) -> None:
    async def is_ready() -> bool:
        return (await asyncio.to_thread(client.get, "/health/ready")).status == 200

    async def is_led() -> bool:
        status = await asked(client, "GET", "/admin/v1/status")
        return status["cluster"]["leader"] is not None

    await _until(is_ready)
    await _until(is_led)


async def test_first_control_makes_its_plane_and_leads_it(settings: Settings) -> None:
    """From an empty directory and an empty etcd to a control that answers for a cluster."""
    async with control_of(settings) as client:
        status = await asked(client, "GET", "/admin/v1/status")
        cluster = status["cluster"]
        assert cluster["location"] == "EU"
        assert cluster["leader"] == status["control"]["uuid"]
        assert cluster["topology"]["state"] == "live"
        (row,) = (await asked(client, "GET", "/admin/v1/control"))["controls"]
        assert (row["isLeader"], row["url"]) == (True, settings.peer_url_at(settings.peer_port))
        for path, key in (("node", "nodes"), ("proxy", "proxies"), ("task", "tasks")):
            assert (await asked(client, "GET", f"/admin/v1/{path}"))[key] == []
        placement = await asked(client, "GET", "/admin/v1/placement")
        assert placement == {"tables": [], "ranges": [], "after": None}
        made = await asked(client, "POST", "/admin/v1/join-token", {"role": "node"})
        token = parse_join_token(made["token"])
        assert token.control_plane == cluster["controlPlane"]
        assert token.addresses == (f"127.0.0.1:{settings.peer_port}",)


async def test_control_comes_back_with_what_it_had(settings: Settings) -> None:
    """The same plane, the same token of the operator, the tokens that it made."""
    async with control_of(settings) as client:
        before = await asked(client, "GET", "/admin/v1/status")
        made = await asked(client, "POST", "/admin/v1/join-token", {"role": "proxy"})
        token = client.token
    async with control_of(settings) as client:
        assert client.token == token
        after = await asked(client, "GET", "/admin/v1/status")
        assert after["cluster"]["controlPlane"] == before["cluster"]["controlPlane"]
        assert after["control"]["uuid"] == before["control"]["uuid"]
        listed = await asked(client, "GET", "/admin/v1/join-token")
        assert [each["id"] for each in listed["joinTokens"]] == [made["id"]]


async def test_control_starts_without_etcd_and_says_so(settings: Settings) -> None:
    """Its operator is answered, and components may ask for their keys; nothing can be placed."""
    away = replace(settings, etcd_endpoints=(f"127.0.0.1:{lasting_port()}",))
    async with control_of(away, waits=False) as client:
        health = await asyncio.to_thread(client.get, "/health/ready")
        assert health.status == 503
        status = await asked(client, "GET", "/admin/v1/status")
        assert status["health"] == "HEALTH_ERR"
        assert {"TOPOLOGY", "CLUSTER"} <= {check["code"] for check in status["checks"]}
        assert status["cluster"]["leader"] is None
        assert (await asked(client, "POST", "/admin/v1/join-token", {"role": "node"}))["token"]


async def test_second_control_shares_the_plane_and_waits_to_lead(
    settings: Settings, tmp_path: Path
) -> None:
    """Both answer the operator; when the one that leads ends, the other leads at once."""
    directory = tmp_path / "second"
    directory.mkdir()
    other = replace(
        settings,
        data=directory,
        peer_port=lasting_port(),
        control_store=f"sqlite:{settings.data / 'control.db'}",
        control_key_file=settings.data / "control.key",
    )

    async def leader(client: Client) -> str | None:
        status = await asked(client, "GET", "/admin/v1/status")
        found: str | None = status["cluster"]["leader"]
        return found

    async with AsyncExitStack() as first:
        one = await first.enter_async_context(control_of(settings))
        led_by = await leader(one)
        async with control_of(other) as two:
            assert await leader(two) == led_by
            made = await asked(two, "POST", "/admin/v1/join-token", {"role": "node"})
            assert set(parse_join_token(made["token"]).addresses) == {
                f"127.0.0.1:{settings.peer_port}",
                f"127.0.0.1:{other.peer_port}",
            }
            rows = (await asked(two, "GET", "/admin/v1/control"))["controls"]
            assert [row["isLeader"] for row in rows].count(True) == 1
            await first.aclose()

            async def is_led_by_another() -> bool:
                return await leader(two) not in {led_by, None}

            await _until(is_led_by_another)


async def test_lost_token_of_the_operator_is_replaced_and_void(settings: Settings) -> None:
    """Only its digest is kept, so nobody can have it back; who found it can't use it."""
    async with control_of(settings) as client:
        lost = client.token
    (settings.data / "client.env").unlink()
    async with control_of(settings) as client:
        assert client.token != lost
        with Client(client.url, token=lost) as finder:
            assert (await asyncio.to_thread(finder.get, "/admin/v1/node")).status == 401
        assert len((await asked(client, "GET", "/admin/v1/token"))["tokens"]) == 1


async def test_tasks_and_credentials_of_nobody_are_not_found(settings: Settings) -> None:
    """Each with a sentence, none with an error inside."""
    async with control_of(settings) as client:
        for method, path in (
            ("GET", "/admin/v1/task/7"),
            ("POST", "/admin/v1/task/7/retry"),
            ("GET", "/admin/v1/node/7"),
            ("DELETE", "/admin/v1/node/7"),
            ("DELETE", "/admin/v1/proxy/7"),
            ("DELETE", "/admin/v1/join-token/7"),
            ("GET", "/admin/v1/placement?tenant=acme"),
            ("GET", "/admin/v1/tenant/acme/access-key"),
            ("POST", "/admin/v1/tenant/acme/token"),
        ):
            answer = await asyncio.to_thread(client.request, method, path)
            assert answer.status == 404, (method, path, answer.body)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"port": 0, "peer_port": 8001}, "peer.port"),
        ({"etcd_endpoints": None}, "etcd.endpoints"),
        ({"control_key_command": ("true",), "control_key_file": "k"}, "exclude"),
        ({"control_store": "mysql://x"}, "Control's store is"),
    ],
)
async def test_control_that_can_not_work_does_not_start(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    """What is wrong is said in a sentence that names the setting; nothing stays open."""
    flags = {"data": tmp_path, "etcd_endpoints": ("127.0.0.1:1",), **changes}
    metrics = create_metrics()
    runtime = Runtime(
        settings=load(flags=flags),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        metrics=metrics,
        admission=Admission(metrics),
        role_names=("control",),
        started_at_us=0,
        on_fatal=lambda _error: None,
        tasks=Tasks(lambda _error: None),
    )
    with pytest.raises(Refused, match=sentence):
        await compose((CONTROL,), runtime)
