"""/admin/v1 of control: who is let in, what is asked of control, and how it is answered."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dstore.api.admin.routes import control_routes
from dstore.api.http.route import Route
from dstore.security.join_tokens import parse_join_token
from tests.unit.api.admin.fake_control import (
    A_STATUS,
    A_TASK,
    CONTROL,
    NODE,
    PROXY,
    TENANT_TOKEN,
    FakeControl,
)

GUARDED = [
    ("GET", "/admin/v1/status"),
    ("GET", "/admin/v1/node"),
    ("GET", f"/admin/v1/node/{NODE}"),
    ("DELETE", f"/admin/v1/node/{NODE}"),
    ("PUT", f"/admin/v1/node/{NODE}/maintenance"),
    ("GET", "/admin/v1/proxy"),
    ("DELETE", f"/admin/v1/proxy/{PROXY}"),
    ("GET", "/admin/v1/control"),
    ("DELETE", f"/admin/v1/control/{CONTROL}"),
    ("GET", "/admin/v1/topology/recovery"),
    ("POST", "/admin/v1/topology/recovery"),
    ("GET", "/admin/v1/placement"),
    ("GET", "/admin/v1/placement/plan"),
    ("POST", "/admin/v1/placement/apply"),
    ("PUT", "/admin/v1/placement/pause"),
    ("POST", "/admin/v1/placement/abort"),
    ("POST", "/admin/v1/placement/split"),
    ("GET", "/admin/v1/placement/range/r/loss"),
    ("POST", "/admin/v1/placement/range/r/accept-loss"),
    ("POST", "/admin/v1/placement/range/r/clear-loss"),
    ("PUT", f"/admin/v1/node/{NODE}/intent"),
    ("POST", f"/admin/v1/node/{NODE}/discard"),
    ("POST", "/admin/v1/scrub/acme/orders"),
    ("GET", "/admin/v1/scrub/acme/orders"),
    ("POST", "/admin/v1/rebuild-index/acme/orders/by-state"),
    ("GET", f"/admin/v1/node/{NODE}/ok-to-stop"),
    ("GET", "/admin/v1/task"),
    ("GET", f"/admin/v1/task/{A_TASK.id}"),
    ("POST", f"/admin/v1/task/{A_TASK.id}/retry"),
    ("GET", "/admin/v1/notice"),
    ("GET", "/admin/v1/join-token"),
    ("POST", "/admin/v1/join-token"),
    ("DELETE", "/admin/v1/join-token/a"),
    ("GET", "/admin/v1/tenant/acme/access-key"),
    ("POST", "/admin/v1/tenant/acme/access-key"),
    ("PUT", "/admin/v1/tenant/acme/access-key/AKIAIOSFODNN7EXAMPLE"),
    ("DELETE", "/admin/v1/tenant/acme/access-key/DSAK"),
    ("GET", "/admin/v1/tenant/acme/token"),
    ("POST", "/admin/v1/tenant/acme/token"),
    ("DELETE", "/admin/v1/tenant/acme/token/t"),
    ("GET", "/admin/v1/token"),
    ("POST", "/admin/v1/token"),
    ("DELETE", "/admin/v1/token/t"),
]


async def test_metrics_alone_are_for_everybody(control: FakeControl) -> None:
    """A scraper has no token; what it reads names no tenant."""
    reply = await control.ask("GET", "/metrics", token=None)
    assert reply.status == 200
    assert b"acme" not in reply.body


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_nobody_but_the_operator_is_let_in(
    control: FakeControl, method: str, path: str
) -> None:
    """Whoever else asks changes nothing, and learns nothing of what there is."""
    assert (await control.ask(method, path, token=None)).status == 401
    assert (await control.ask(method, path, token="other")).status == 401
    assert (await control.ask(method, path, token=TENANT_TOKEN)).status == 403
    assert control.reports.asked == []
    assert control.placing.asked == []
    assert control.join_tokens.made == []
    assert control.join_tokens.revoked == []
    assert control.credentials.actors == []


def test_list_of_guarded_routes_is_whole() -> None:
    """A route that is added here must be guarded there."""
    wanted: Any = object()
    admin: Any = type(
        "Admin", (), {"__getattr__": lambda *_: wanted, "process": "p", "location": "l"}
    )()
    report: Any = type("Report", (), {"clock": type("C", (), {"wall_us": lambda: 0})})()
    routes: tuple[Route, ...] = control_routes(admin, report=report, metrics=wanted)
    assert len(routes) == len(GUARDED) + 1  # and /metrics


async def test_a_signature_is_no_way_in(control: FakeControl) -> None:
    """Access keys are tenants'; control does not even look for them."""
    reply = await control.ask("GET", "/admin/v1/node?X-Amz-Algorithm=AWS4-HMAC-SHA256", token=None)
    assert reply.status in {401, 403}


async def test_two_tokens_are_refused(control: FakeControl) -> None:
    """Nobody has to guess which of them counts."""
    reply = await control.ask("GET", "/admin/v1/node", token="operator\nAuthorization: Bearer x")
    assert reply.status == 400


async def test_nodes_are_listed_and_shown(control: FakeControl) -> None:
    """What the operator needs to know of each, and of one its ranges."""
    listed = json.loads((await control.ask("GET", "/admin/v1/node")).body)
    assert listed == {
        "nodes": [
            {
                "id": NODE,
                "role": "node",
                "zone": "rack-1",
                "url": "https://10.0.0.1:8001",
                "apiUrl": None,
                "version": "0.1.0",
                "state": "active",
                "health": "okay",
                "why": "",
                "joinedAt": "1970-01-01T00:00:01.000Z",
                "ranges": 2,
                "primaries": 1,
                "freeBytes": 0,
                "capacityBytes": 0,
                "loadPercent": 0,
            }
        ]
    }
    shown = json.loads((await control.ask("GET", f"/admin/v1/node/{NODE}")).body)
    [held] = shown["held"]
    assert held["table"] == "orders"
    assert (held["factor"], held["minInSync"]) == (1, 1)
    assert (held["isReadOnly"], held["isUnderReplicated"]) == (False, False)
    assert (held["storedBytes"], held["requestsPerS"]) == (4096, 30)
    assert held["replicas"] == [{"node": NODE, "state": "in_sync", "held": "okay", "isAlive": True}]
    assert (await control.ask("GET", f"/admin/v1/node/{PROXY}")).problem == "not-found"


async def test_node_goes_into_maintenance_and_back(control: FakeControl) -> None:
    """Control is told who wants it, for its audit log."""
    path = f"/admin/v1/node/{NODE}/maintenance"
    reply = await control.ask("PUT", path, {"maintenance": True})
    assert json.loads(reply.body)["state"] == "maintenance"
    reply = await control.ask("PUT", path, {"maintenance": False})
    assert json.loads(reply.body)["state"] == "active"
    assert control.reports.asked == [
        ("maintenance", NODE, True, "op-1"),
        ("maintenance", NODE, False, "op-1"),
    ]


@pytest.mark.parametrize("body", [{}, {"maintenance": "true"}, {"maintenance": True, "x": 1}, []])
async def test_maintenance_must_be_said_clearly(control: FakeControl, body: object) -> None:
    """A node that is drained by a misspelt body is drained by mistake."""
    reply = await control.ask("PUT", f"/admin/v1/node/{NODE}/maintenance", body)
    assert reply.problem == "invalid"
    assert control.reports.asked == []


@pytest.mark.parametrize(("kind", "uuid"), [("node", NODE), ("proxy", PROXY), ("control", CONTROL)])
async def test_components_are_removed(control: FakeControl, kind: str, uuid: str) -> None:
    """For good, so control is told by whom."""
    reply = await control.ask("DELETE", f"/admin/v1/{kind}/{uuid}")
    assert json.loads(reply.body)["state"] == "removed"
    assert control.reports.asked == [("remove", uuid, "op-1")]


async def test_recovery_is_looked_at_and_ordered(control: FakeControl) -> None:
    """A look asks for nothing; an order says by whom, and what is under way."""
    seen = json.loads((await control.ask("GET", "/admin/v1/topology/recovery")).body)
    assert seen == {
        "state": "needed",
        "why": "The coordinator is empty.",
        "revision": 1,
        "recoveries": 2,
        "changes": 40,
        "changesShown": 0,
        "tenants": 1,
        "tables": 2,
        "ranges": 6,
    }
    assert control.reports.asked == []
    ordered = json.loads((await control.ask("POST", "/admin/v1/topology/recovery")).body)
    assert (ordered["state"], ordered["recoveries"]) == ("under_way", 3)
    assert control.reports.asked == [("recover", "op-1")]


async def test_placement_is_asked_for_by_name_and_in_pages(control: FakeControl) -> None:
    """`after` of one page is what the next one begins with."""
    path = "/admin/v1/placement?tenant=acme&table=orders"
    page = json.loads((await control.ask("GET", path)).body)
    assert [each["rangeId"] for each in page["ranges"]]
    await control.ask("GET", f"{path}&after={page['after']}")
    assert control.reports.asked == [
        ("acme", "orders", None),
        ("acme", "orders", ("acme", "orders")),
    ]


@pytest.mark.parametrize(
    "query", ["table=orders", "after=@", "after=W10", "after=eyJ", "limit=3", "after=%C3%A9"]
)
async def test_placement_of_nothing_in_particular_is_refused(
    control: FakeControl, query: str
) -> None:
    """A table without its tenant, and places that no page gave."""
    assert (await control.ask("GET", f"/admin/v1/placement?{query}")).problem == "invalid"


async def test_tasks_are_listed_shown_and_retried(control: FakeControl) -> None:
    """Progress is JSON within the answer, not a text of JSON."""
    page = json.loads((await control.ask("GET", "/admin/v1/task?state=queued")).body)
    assert page["tasks"][0]["progress"] == {"nodes": 1}
    await control.ask("GET", f"/admin/v1/task?after={page['after']}")
    shown = json.loads((await control.ask("GET", f"/admin/v1/task/{A_TASK.id}")).body)
    assert (shown["error"], shown["attempts"]) == ("A node did not answer.", 2)
    assert (await control.ask("POST", f"/admin/v1/task/{A_TASK.id}/retry")).status == 200
    assert control.reports.asked == [
        ("queued", None),
        (None, (A_TASK.changed_at_us, A_TASK.id)),
        ("retry", A_TASK.id),
    ]
    assert (await control.ask("GET", "/admin/v1/task?state=lost")).problem == "invalid"
    assert (await control.ask("POST", "/admin/v1/task/7/retry")).problem == "not-found"


async def test_notices_are_listed_whatever_they_hold(control: FakeControl) -> None:
    """A node of another version may send details that are no JSON."""
    page = json.loads((await control.ask("GET", "/admin/v1/notice")).body)
    assert page["notices"][0]["details"] == "no JSON"
    assert page["after"] is None


async def test_join_token_is_shown_once(control: FakeControl) -> None:
    """Its text can be joined with; the list tells what became of it, without its secret."""
    body = {"role": "node", "lifeSeconds": 60}
    reply = await control.ask("POST", "/admin/v1/join-token", body)
    assert reply.status == 201
    made = json.loads(reply.body)
    token = parse_join_token(made["token"])
    assert (token.token_id, token.role) == (made["id"], "node")
    assert [actor for _, actor in control.join_tokens.made] == ["op-1"]
    listed = await control.ask("GET", "/admin/v1/join-token")
    page = json.loads(listed.body)
    assert [each["state"] for each in page["joinTokens"]] == ["open", "used", "expired"]
    assert made["token"].encode() not in listed.body
    more = json.loads(
        (await control.ask("GET", f"/admin/v1/join-token?after={page['after']}")).body
    )
    assert more == {"joinTokens": [], "after": None}
    assert (await control.ask("DELETE", "/admin/v1/join-token/a")).status == 204
    assert control.join_tokens.revoked == [("a", "op-1")]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "operator"},
        {"role": ["node"]},
        {"role": "node", "lifeSeconds": 0},
        {"role": "node", "lifeSeconds": 3601},
        {"role": "node", "lifeSeconds": 1.5},
        {"role": "node", "lifeSeconds": -1},
        {"role": "node", "lifeSeconds": "60"},
        {"role": "node", "lifeSeconds": None},
        {"role": "node", "lifeseconds": 60},
    ],
)
async def test_join_token_for_whom_and_how_long_must_be_said(
    control: FakeControl, body: object
) -> None:
    """A token that admits more, or for longer, than was meant is a hole."""
    assert (await control.ask("POST", "/admin/v1/join-token", body)).problem == "invalid"
    assert control.join_tokens.made == []


async def test_credentials_have_the_routes_of_a_stand_alone_node(control: FakeControl) -> None:
    """A script that makes access keys works on both."""
    keys = "/admin/v1/tenant/acme/access-key"
    made = await control.ask("POST", keys)
    assert (made.status, json.loads(made.body)["secret"]) == (201, "secret")
    imported = await control.ask("PUT", f"{keys}/AKIAIOSFODNN7EXAMPLE", {"secret": "made-up"})
    assert (imported.status, b"made-up" in imported.body) == (201, False)
    assert (await control.ask("DELETE", f"{keys}/DSAK")).status == 204
    assert (await control.ask("DELETE", f"{keys}/OTHER")).problem == "not-found"
    assert (await control.ask("GET", "/admin/v1/tenant/nobody/access-key")).problem == "not-found"
    assert json.loads((await control.ask("POST", "/admin/v1/token")).body)["token"] == "text"
    assert (await control.ask("DELETE", "/admin/v1/token/t")).status == 204
    assert set(control.credentials.actors) == {"op-1"}


async def test_status_is_one_page_about_everything(control: FakeControl) -> None:
    """The process, the cluster, and what is wrong with it."""
    status = json.loads((await control.ask("GET", "/admin/v1/status")).body)
    assert (status["health"], status["checks"]) == ("HEALTH_OK", [])
    assert status["control"]["uuid"] == CONTROL
    cluster = status["cluster"]
    assert cluster["sentence"] == "0 node failures survivable."
    assert cluster["topology"]["revision"] == 7
    assert cluster["components"][0]["isLeader"] is True
    assert cluster["tables"] == {"active": 1}


async def test_status_says_how_bad_it_is(control: FakeControl) -> None:
    """Data that cannot be had is an error, what could come to that a warning."""
    control.reports.status_now = replace(A_STATUS, problems=("A node is dead.",))
    status = json.loads((await control.ask("GET", "/admin/v1/status")).body)
    assert status["health"] == "HEALTH_WARN"
    assert status["checks"] == [{"code": "CLUSTER", "message": "A node is dead."}]
    control.reports.status_now = replace(
        A_STATUS,
        ranges=replace(A_STATUS.ranges, total=4, unavailable=1),
        problems=("1 range can't be used now.",),
    )
    status = json.loads((await control.ask("GET", "/admin/v1/status")).body)
    assert status["health"] == "HEALTH_ERR"
    for counts, health in (
        (replace(A_STATUS.ranges, read_only=1), "HEALTH_ERR"),
        (replace(A_STATUS.ranges, under_replicated=1), "HEALTH_WARN"),
    ):
        control.reports.status_now = replace(A_STATUS, ranges=counts, problems=("So it is.",))
        status = json.loads((await control.ask("GET", "/admin/v1/status")).body)
        assert status["health"] == health
        shown = status["cluster"]["ranges"]
        assert (shown["readOnly"], shown["underReplicated"]) == (
            counts.read_only,
            counts.under_replicated,
        )
    frozen = replace(A_STATUS.topology, state="frozen", sentence="Topology rolled back.")
    control.reports.status_now = replace(A_STATUS, topology=frozen)
    status = json.loads((await control.ask("GET", "/admin/v1/status")).body)
    assert (status["health"], status["checks"][0]["code"]) == ("HEALTH_ERR", "TOPOLOGY")
