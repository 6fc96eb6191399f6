"""All roles in one process: what a stand-alone node left is taken over, and the whole is shown."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from tests.support.http_client import Client
from tests.support.server import ServerEnded, prepared, running
from tests.support.standalone_directory import (
    DELETED,
    NAMES,
    SQUARES,
    StandaloneDirectory,
    unpacked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

NEW: Final = "/v1/tenant/acme/table/later"


@pytest.fixture
def old(tmp_path: Path) -> StandaloneDirectory:
    """Give a directory of the time before."""
    return unpacked(tmp_path)


def assert_as_before(server: Server, old: StandaloneDirectory) -> None:
    """Find what a client of the stand-alone node saw, by the same credentials."""
    env, facts = server.env(), old.facts
    assert {name: env[name] for name in facts["env"]} == facts["env"]
    with server.client() as client:
        for path, seen in facts["tables"].items():
            tenant, table = path.split("/")
            shown = client.get(f"/v1/tenant/{tenant}/table/{table}").json()
            assert {name: shown[name] for name in seen} == seen
        for tenant, seen in facts["tenants"].items():
            found = client.get(f"/v1/tenant/{tenant}").json()
            assert (found["uuid"], found["createdAt"]) == (seen["uuid"], seen["createdAt"])
        names = "/v1/tenant/acme/table/names/id"
        for name, data in NAMES.items():
            if name == DELETED:
                assert client.get(f"{names}/{name}").status == 404
            else:
                assert client.get(f"{names}/{name}").json() == data
        squares = client.get("/v1/tenant/default/table/numbers/id?limit=100").json()["entries"]
        assert {entry["id"]: entry["data"] for entry in squares} == SQUARES
    with Client(env["DSTORE_URL"], token=facts["acme_token"]["token"]) as tenants:
        assert tenants.get("/v1/tenant/acme").status == 200
        assert tenants.get("/v1/tenant/default").status == 403
    assert_orders(env, facts)


def assert_orders(env: dict[str, str], facts: dict[str, Any]) -> None:
    """Find the DynamoDB table, by the access key of the time before."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=env["DSTORE_URL"],
        region_name="us-east-1",
        aws_access_key_id=facts["env"]["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=facts["env"]["AWS_SECRET_ACCESS_KEY"],
    )
    with closing(client):
        table = client.describe_table(TableName="orders")["Table"]
        assert (table["TableArn"], table["TableId"]) == (facts["orders_arn"], facts["orders_id"])
        tags = client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
        assert tags == [{"Key": "team", "Value": "blue"}]
        assert len(client.scan(TableName="orders")["Items"]) == 10


def test_a_directory_of_the_time_before_opens_unchanged(
    tmp_path: Path, old: StandaloneDirectory
) -> None:
    """Data, identities and credentials are all there; also after a kill, and after a restart."""
    with prepared(tmp_path / "server", data=old.data) as server:
        server.start()
        assert_as_before(server, old)
        server.kill()
        server.start()
        assert_as_before(server, old)
        with server.client() as client:
            assert client.put(NEW, {"idType": "String"}).status == 201
            assert client.put(f"{NEW}/id/a", {"is": "new"}).status == 201
        assert server.stop() == 0
        server.start()
        assert_as_before(server, old)
        with server.client() as client:
            assert client.get(f"{NEW}/id/a").json() == {"is": "new"}


def test_a_node_alone_leaves_the_directory_to_control(
    tmp_path: Path, old: StandaloneDirectory
) -> None:
    """What it would make beside control, control would have it give up; so it does not start."""
    with prepared(tmp_path / "server", data=old.data, settings={"role": "node"}) as server:
        server.start()
        assert server.stop() == 0
        server.settings = {}
        server.start()
        assert server.stop() == 0
        server.settings = {"role": "node"}
        with pytest.raises(ServerEnded, match="--role all"):
            server.start()
        server.settings = {}
        server.start()
        assert_as_before(server, old)


def test_without_control_s_store_nothing_is_given_up(
    tmp_path: Path, old: StandaloneDirectory
) -> None:
    """An empty store knows no table; the node would drop all of them, so the start is refused."""
    with prepared(tmp_path / "server", data=old.data) as server:
        server.start()
        assert server.stop() == 0
        aside = tmp_path / "aside"
        aside.mkdir()
        for file in (*old.data.glob("control.db*"), *old.data.glob("topology.db*")):
            file.rename(aside / file.name)
        with pytest.raises(ServerEnded, match="restore control's store"):
            server.start()
        for file in aside.iterdir():
            file.replace(old.data / file.name)
        server.start()
        assert_as_before(server, old)


LATER: Final = "/v1/tenant/default/table/later"


def lose_topology(server: Server) -> None:
    """Let the process's own coordinator be gone."""
    for file in server.data.glob("topology.db*"):
        file.unlink()


def test_a_lost_topology_is_made_anew(tmp_path: Path) -> None:
    """Control's store and the node have all that was in it; a kill in between is no matter."""
    with running(tmp_path) as server:
        with server.client() as client:
            assert client.put(LATER, {"idType": "String"}).status == 201
            assert client.put(f"{LATER}/id/a", {"is": "kept"}).status == 201
        assert server.stop() == 0
        lose_topology(server)
        server.start()
        server.kill()
        server.start()
        with server.client() as client, server.admin() as admin:
            assert client.get(f"{LATER}/id/a").json() == {"is": "kept"}
            assert client.put(f"{LATER}/id/b", {"is": "new"}).status == 201
            assert client.put(f"{LATER}2", {"idType": "String"}).status == 201
            ranges = admin.get("/admin/v1/status").json()["cluster"]["ranges"]
            assert (ranges["unavailable"], ranges["possibleLoss"]) == (0, 0)
        assert len(server.events("topology_lost")) == 1


@pytest.mark.parametrize("name", ["control.db", "node.db", "topology.db"])
def test_a_lost_topology_beside_files_of_an_earlier_day(tmp_path: Path, name: str) -> None:
    """What was made since would be given up, or made anew, and empty: so the start is refused."""
    with running(tmp_path) as server:
        assert server.stop() == 0
        earlier = (server.data / name).read_bytes()
        server.start()
        with server.client() as client:
            assert client.put(LATER, {"idType": "String"}).status == 201
            assert client.put(f"{LATER}/id/a", {"is": "kept"}).status == 201
        assert server.stop() == 0
        lose_topology(server)
        (server.data / name).write_bytes(earlier)
        with pytest.raises(ServerEnded, match="older than"):
            server.start()
        if name == "topology.db":  # as the refusal says
            lose_topology(server)
            server.start()
            with server.client() as client:
                assert client.get(f"{LATER}/id/a").json() == {"is": "kept"}


def test_a_node_database_of_an_earlier_day_is_refused(tmp_path: Path) -> None:
    """It lacks the tables made since; they would be made anew, and empty."""
    with running(tmp_path) as server:
        assert server.stop() == 0
        database = server.data / "node.db"
        earlier = database.read_bytes()
        server.start()
        with server.client() as client:
            table = "/v1/tenant/default/table/later"
            assert client.put(table, {"idType": "String"}).status == 201
            assert client.put(f"{table}/id/a", {"is": "new"}).status == 201
        assert server.stop() == 0
        today = database.read_bytes()
        database.write_bytes(earlier)
        with pytest.raises(ServerEnded, match=r"node\.db is older"):
            server.start()
        database.write_bytes(today)
        server.start()
        with server.client() as client:
            assert client.get(f"{table}/id/a").json() == {"is": "new"}


def test_the_location_is_what_the_setting_says(tmp_path: Path, old: StandaloneDirectory) -> None:
    """Nothing is stored by it: whoever sets another one finds the same data under other RIDs."""
    with prepared(tmp_path / "server", data=old.data) as server:
        for location in ("here", "there"):
            server.settings = {"location": location}
            server.start()
            with server.client() as client, server.admin() as admin:
                assert client.get("/v1/tenant/acme/table/names/id/n1").json() == NAMES["n1"]
                table = client.get("/v1/tenant/acme/table/names").json()
                assert table["rid"] == f"rid:dStore:acme:{location}:table:names"
                status = admin.get("/admin/v1/status").json()
                assert status["node"]["location"] == status["control"]["location"] == location
            assert server.stop() == 0
        assert [(each["before"], each["now"]) for each in server.events("location_changed")] == [
            ("here", "there")
        ]


def test_etcd_beside_all_roles_is_refused(tmp_path: Path) -> None:
    """Of two coordinators one would be ignored."""
    settings = {"etcd-endpoint": "127.0.0.1:2379"}
    with (
        prepared(tmp_path, settings=settings) as server,
        pytest.raises(ServerEnded, match=r"etcd\.endpoints"),
    ):
        server.start()


def test_the_process_shows_its_parts(tmp_path: Path) -> None:
    """One page tells of control, the node and the proxy, each well, and of the node's own data."""
    with running(tmp_path) as server, server.admin() as admin:
        status = admin.get("/admin/v1/status").json()
        assert status["health"] == "HEALTH_OK"
        assert status["node"]["roles"] == ["control", "node", "proxy"]
        cluster = status["cluster"]
        components = {each["role"]: each["health"] for each in cluster["components"]}
        assert components == {"control": "okay", "node": "okay", "proxy": "okay"}
        assert cluster["leader"] is not None
