"""The nouns of a cluster: components, placement, join tokens, notices."""

import json
from typing import Any

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, Reply, problem

NODES = "/admin/v1/node"
ONE = "3f2a0000-0000-4000-8000-000000000001"
TWO = "3f2b0000-0000-4000-8000-000000000002"
GONE = "3f2c0000-0000-4000-8000-000000000003"
CANARY = "dstore-join-v1.canary"
RANGE = {
    "tenant": "acme",
    "table": "orders",
    "rangeId": "r",
    "lowHash": 0,
    "highHash": 2_147_483_647,
    "epoch": 3,
    "node": ONE,
    "url": "https://10.0.0.1:8001",
    "held": "okay",
    "why": "",
}


def a_node(uuid: str, **changes: Any) -> dict[str, Any]:
    """A node as control describes it."""
    return {
        "id": uuid,
        "role": "node",
        "zone": "rack-1",
        "url": "https://10.0.0.1:8001",
        "apiUrl": None,
        "version": "0.1.0",
        "state": "active",
        "health": "okay",
        "why": "",
        "joinedAt": "2026-01-02T03:04:05.000Z",
        "ranges": 4,
        "primaries": 2,
        "freeBytes": 1_073_741_824,
        "capacityBytes": 4_294_967_296,
        "loadPercent": 12,
        **changes,
    }


@pytest.fixture
def cluster(server: FakeServer) -> FakeServer:
    """Three nodes, one of which was removed."""
    dead = a_node(TWO, health="dead", why="Its lease is over.", capacityBytes=0)
    nodes = [a_node(ONE), dead, a_node(GONE, state="removed")]
    server.on("GET", NODES, {"nodes": nodes})
    return server


def test_nodes_for_people(cluster: FakeServer, run: Run) -> None:
    """Sizes are readable, and what a dead node once said of its load is not shown."""
    assert cluster.seen == []
    lines = run("node", "ls").stdout.splitlines()
    assert " ".join(lines[0].split()) == "ID ZONE STATE HEALTH RANGES PRIMARY FREE LOAD WHY"
    assert lines[1].split()[:6] == [ONE[:8], "rack-1", "active", "okay", "4", "2"]
    assert "1.0 GiB" in lines[1]
    assert "12 %" in lines[1]
    assert lines[2].endswith("Its lease is over.")
    assert "%" not in lines[2]
    assert len(lines) == 3
    assert len(run("node", "list", "--all").stdout.splitlines()) == 4


def test_nodes_for_programs_are_controls_own(cluster: FakeServer, run: Run) -> None:
    """No figure is rounded, and nothing is added."""
    assert cluster.seen == []
    document = json.loads(run("node", "list", "-o", "json").stdout)
    assert document["kind"] == "NodeList"
    assert document["items"][0] == a_node(ONE)


def test_node_is_named_by_how_its_id_begins(cluster: FakeServer, run: Run) -> None:
    """Nobody types UUIDs; of what is removed nobody speaks."""
    cluster.on("GET", f"{NODES}/{ONE}", {**a_node(ONE), "held": [RANGE]})
    result = run("node", "show", "3F2A")
    assert result.exit_code == ExitCode.OK
    assert f"node       {ONE}\n" in result.stdout
    assert "00000000-7fffffff  50.0 %" in result.stdout
    assert "ranges     4, the primary of 2\n" in result.stdout
    assert run("node", "show", "3f2c").exit_code == ExitCode.NOT_FOUND


def test_ambiguous_beginning_of_an_id_is_refused(cluster: FakeServer, run: Run) -> None:
    """The sentence has what there is to choose from; nothing is done."""
    result = run("node", "remove", "3f2", "--yes")
    assert result.exit_code == ExitCode.USAGE
    assert ONE in result.stderr
    assert TWO in result.stderr
    assert [seen.method for seen in cluster.seen] == ["GET"]


def test_whole_id_is_not_looked_up(server: FakeServer, run: Run) -> None:
    """One request less, and it works for what no list shows."""
    server.on("GET", f"{NODES}/{ONE}", a_node(ONE))
    assert run("node", "show", ONE).exit_code == ExitCode.OK
    assert len(server.seen) == 1


@pytest.mark.parametrize(("flags", "is_on"), [((), True), (("--off",), False)])
def test_maintenance(cluster: FakeServer, run: Run, flags: tuple[str, ...], is_on: bool) -> None:
    """It is put, not toggled: twice is as good as once."""
    path = f"{NODES}/{ONE}/maintenance"
    cluster.on("PUT", path, a_node(ONE, state="maintenance"))
    result = run("node", "maintenance", "3f2a", *flags)
    assert result.exit_code == ExitCode.OK
    assert json.loads(cluster.seen[-1].body) == {"maintenance": is_on}
    assert ONE in result.stderr


def test_removing_a_node_needs_a_yes(cluster: FakeServer, run: Run) -> None:
    """It can't come back under its id."""
    cluster.on("DELETE", f"{NODES}/{ONE}", a_node(ONE, state="removed"))
    refused = run("node", "remove", "3f2a")
    assert refused.exit_code == ExitCode.UNSAFE
    assert "DELETE" not in {seen.method for seen in cluster.seen}
    done = run("node", "remove", "3f2a", "--yes", "-o", "json")
    assert json.loads(done.stdout)["removed"] is True


def test_removing_a_node_can_be_tried(cluster: FakeServer, run: Run) -> None:
    """What would be refused is said beforehand."""
    cluster.on("GET", f"{NODES}/{ONE}", a_node(ONE))
    result = run("node", "remove", "3f2a", "--dry-run")
    assert result.exit_code == ExitCode.UNSAFE
    assert "has 4 ranges and would not be removed" in result.stderr
    cluster.on("GET", f"{NODES}/{TWO}", a_node(TWO, ranges=0))
    able = run("node", "remove", "3f2b", "--dry-run")
    assert (able.exit_code, "would be removed" in able.stderr) == (ExitCode.OK, True)
    assert {seen.method for seen in cluster.seen} == {"GET"}


def test_rm_is_what_the_noun_calls_it(cluster: FakeServer, run: Run) -> None:
    """Of a component that is remove, of what is stored delete; who types rm need not know."""
    cluster.on("GET", f"{NODES}/{TWO}", a_node(TWO, ranges=0))
    assert "would be removed" in run("node", "rm", "3f2b", "--dry-run").stderr
    assert run("notice", "rm").exit_code == ExitCode.USAGE


def test_control_says_why_a_node_stays(cluster: FakeServer, run: Run) -> None:
    """Its sentence is the command's."""
    refusal = problem(409, "The node has 4 ranges; move them first.", name="conflict")
    cluster.on("DELETE", f"{NODES}/{ONE}", reply=refusal)
    result = run("node", "remove", "3f2a", "--yes")
    assert result.exit_code == ExitCode.UNSAFE
    assert "move them first" in result.stderr


def test_printed_curl_needs_no_server(server: FakeServer, run: Run) -> None:
    """What is printed can be sent as it is, with the whole id."""
    result = run("node", "remove", ONE, "--print-curl")
    assert result.stdout.endswith(f"/admin/v1/node/{ONE}\n")
    assert server.seen == []


def test_proxies_are_listed_and_removed(server: FakeServer, run: Run) -> None:
    """What clients call stands in the list."""
    row = {**a_node(ONE), "role": "proxy", "apiUrl": "https://proxy-1:8000"}
    server.on("GET", "/admin/v1/proxy", {"proxies": [row]})
    server.on("DELETE", f"/admin/v1/proxy/{ONE}", {**row, "state": "removed"})
    assert "https://proxy-1:8000" in run("proxy", "ls").stdout
    assert run("proxy", "remove", "3f2a").exit_code == ExitCode.UNSAFE
    assert "would be removed" in run("proxy", "remove", "3f2a", "--dry-run").stderr
    assert run("proxy", "remove", "3f2a", "--yes").exit_code == ExitCode.OK
    assert [seen.method for seen in server.seen].count("DELETE") == 1


def test_controls_are_listed_with_their_leader(server: FakeServer, run: Run) -> None:
    """One of several leads."""
    rows = [{**a_node(ONE), "isLeader": True}, {**a_node(TWO), "isLeader": False}]
    server.on("GET", "/admin/v1/control", {"controls": rows})
    lines = run("control", "ls").stdout.splitlines()
    assert ["yes" in line for line in lines[1:]] == [True, False]


def test_ended_controls_are_removed(server: FakeServer, run: Run) -> None:
    """One that is alive is refused by control, in its words."""
    row = {**a_node(ONE), "isLeader": False}
    server.on("GET", "/admin/v1/control", {"controls": [row]})
    assert run("control", "remove", "3f2a").exit_code == ExitCode.UNSAFE
    assert "would be removed" in run("control", "remove", "3f2a", "--dry-run").stderr
    assert "DELETE" not in {seen.method for seen in server.seen}
    path = f"/admin/v1/control/{ONE}"
    server.on("DELETE", path, reply=problem(409, "This control process leads; stop it first."))
    server.on("DELETE", path, {**row, "state": "removed"})
    alive = run("control", "remove", "3f2a", "--yes")
    assert (alive.exit_code, "stop it first" in alive.stderr) == (ExitCode.UNSAFE, True)
    assert "is removed" in run("control", "remove", "3f2a", "--yes").stderr


RECOVERY = "/admin/v1/topology/recovery"
A_RECOVERY = {
    "state": "needed",
    "why": "The coordinator is empty.",
    "revision": 4,
    "tenants": 1,
    "tables": 2,
    "ranges": 6,
}


def test_recovery_is_tried_asked_for_and_followed(server: FakeServer, run: Run) -> None:
    """What would be published is said first; then it is done, and waited for."""
    server.on("GET", RECOVERY, A_RECOVERY)
    tried = run("control", "recover-topology", "--dry-run")
    assert "Would be published: all 1 tenants, 2 tables, 6 ranges" in tried.stderr
    refused = run("control", "recover-topology")
    assert refused.exit_code == ExitCode.UNSAFE
    assert {seen.method for seen in server.seen} == {"GET"}
    under_way = {**A_RECOVERY, "state": "under_way", "why": "It is being recovered."}
    done = {**A_RECOVERY, "state": "not_needed", "why": "They belong together."}
    server.on("POST", RECOVERY, under_way)
    for state in (under_way, done):
        server.on("GET", RECOVERY, state)
    followed = run("control", "recover-topology", "--yes", "--follow", "-o", "json")
    assert followed.exit_code == ExitCode.OK
    assert json.loads(followed.stdout)["state"] == "not_needed"


@pytest.mark.parametrize("state", ["not_needed", "impossible"])
def test_recovery_without_need_is_refused(server: FakeServer, run: Run, state: str) -> None:
    """Not even --yes has it done: nothing is asked of control but a look."""
    why = "They belong together." if state == "not_needed" else "The store is the old one."
    server.on("GET", RECOVERY, {**A_RECOVERY, "state": state, "why": why})
    result = run("control", "recover-topology", "--yes")
    assert (result.exit_code, why in result.stderr) == (ExitCode.FAILED, True)
    assert {seen.method for seen in server.seen} == {"GET"}


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ((), ""),
        (("--tenant", "acme"), "?tenant=acme"),
        (("orders",), "?tenant=default&table=orders"),
        (("orders", "--tenant", "acme"), "?tenant=acme&table=orders"),
    ],
)
def test_placement_of_one_some_or_all(
    server: FakeServer, run: Run, args: tuple[str, ...], query: str
) -> None:
    """The later pages of a long list are asked for by what the former said."""
    path = f"/admin/v1/placement{query}"
    server.on("GET", path, {"tables": [], "ranges": [RANGE], "after": "x"})
    more = f"{path}{'&' if query else '?'}after=x"
    upper = {**RANGE, "lowHash": 2_147_483_648, "highHash": 4_294_967_295}
    server.on("GET", more, {"tables": [], "ranges": [upper], "after": None})
    lines = run("placement", "show", *args).stdout.splitlines()
    assert [line.split()[2:5] for line in lines[1:]] == [
        ["00000000-7fffffff", "50.0", "%"],
        ["80000000-ffffffff", "50.0", "%"],
    ]
    document = json.loads(run("placement", "show", *args, "-o", "json").stdout)
    assert document["items"] == [RANGE, upper]


def test_placement_shows_every_replica(server: FakeServer, run: Run) -> None:
    """Who has a range beside its primary, who of them is dead or learns, and what that means."""
    in_sync = {"state": "in_sync", "held": "okay", "isAlive": True}
    whole = {
        **RANGE,
        "factor": 3,
        "minInSync": 2,
        "replicas": [
            {**in_sync, "node": ONE},
            {**in_sync, "node": TWO, "isAlive": False},
            {**in_sync, "node": GONE, "state": "learner"},
        ],
        "isReadOnly": True,
        "isUnderReplicated": True,
        "storedBytes": 5 << 20,
        "requestsPerS": 640,
        "why": "Range r is read-only.",
    }
    answer = {"tables": [], "ranges": [whole, RANGE], "after": None}
    server.on("GET", "/admin/v1/placement", answer)
    head, line, plain = run("placement", "show").stdout.splitlines()
    columns = ["NODE", "EPOCH", "HELD", "SYNC", "SIZE", "REQ/S", "OTHERS", "WHY"]
    assert head.split()[4:] == columns
    others = f"{TWO[:8]} dead, {GONE[:8]} learner"
    assert f"okay  1/3 read-only  5.0 MiB  640    {others}  Range r is read-only." in line
    assert plain.rstrip().endswith("okay"), "control of a version that does not say"


def test_join_token_is_data_and_its_notes_are_not(server: FakeServer, run: Run) -> None:
    """What goes to stdout can go into the file that the component reads."""
    made = {"id": "a", "role": "node", "token": CANARY, "expiresAt": "2026-01-02T03:04:05Z"}
    server.on("POST", "/admin/v1/join-token", made)
    result = run("control", "token", "create", "--role", "node", "--life", "60")
    assert result.stdout == f"{CANARY}\n"
    assert CANARY not in result.stderr
    assert json.loads(server.seen[0].body) == {"role": "node", "lifeSeconds": 60}
    document = json.loads(run("control", "token", "create", "--role", "proxy", "-o", "json").stdout)
    assert document["token"] == CANARY


@pytest.mark.parametrize(
    "args", [(), ("--role", "control"), ("--role", "node", "--life", "0"), ("--role", "x")]
)
def test_join_token_is_for_somebody_and_for_a_while(
    server: FakeServer, run: Run, args: tuple[str, ...]
) -> None:
    """A control joins by its store and its key, not by a token."""
    assert run("control", "token", "create", *args).exit_code == ExitCode.USAGE
    assert server.seen == []


def test_join_tokens_are_listed_and_revoked(server: FakeServer, run: Run) -> None:
    """By their public ids: their texts are not kept."""
    row = {"id": "mzxw6ytboi3q", "role": "node", "state": "open", "usedBy": None}
    server.on("GET", "/admin/v1/join-token", {"joinTokens": [row], "after": None})
    server.on("DELETE", "/admin/v1/join-token/mzxw6ytboi3q", reply=Reply(status=204))
    assert run("control", "token", "ls").stdout.splitlines()[1].split() == [
        "mzxw6ytboi3q",
        "node",
        "open",
    ]
    assert "admits nobody" in run("control", "token", "revoke", "mzxw6ytboi3q").stderr


def test_notices_are_listed(server: FakeServer, run: Run) -> None:
    """Details may be a text or an object."""
    row = {"node": ONE, "at": "2026-01-02T03:04:05Z", "kind": "disk_low", "details": {"free": 1}}
    server.on("GET", "/admin/v1/notice", {"notices": [row], "after": None})
    assert '{"free": 1}' in run("notice", "ls").stdout.replace(":1", ": 1")


@pytest.mark.parametrize(
    "args",
    [
        ("node", "ls"),
        ("node", "show", "3f2a"),
        ("proxy", "ls"),
        ("control", "ls"),
        ("control", "recover-topology", "--yes"),
        ("control", "token", "ls"),
        ("control", "token", "create", "--role", "node"),
        ("placement", "show"),
        ("tasks", "ls"),
        ("notice", "ls"),
    ],
)
def test_server_that_is_no_control_is_told_apart(run: Run, args: tuple[str, ...]) -> None:
    """A stand-alone node has none of these paths; the sentence says whom to ask instead."""
    result = run(*args)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "--admin-url of a control" in result.stderr
