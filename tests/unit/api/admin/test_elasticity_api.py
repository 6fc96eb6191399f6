"""/admin/v1: moving replicas, and nodes that are to be stopped or to go."""

from __future__ import annotations

import json

import pytest

from dstore.service.control.status import SplitRow
from dstore.storage.control.records import ComponentState
from tests.unit.api.admin.fake_control import A_TASK, NODE, FakeControl

PLAN = "/admin/v1/placement/plan"
APPLY = "/admin/v1/placement/apply"
PAUSE = "/admin/v1/placement/pause"
INTENT = f"/admin/v1/node/{NODE}/intent"


async def test_the_plan_says_what_is_moved(control: FakeControl) -> None:
    """Who gets what, and how much of it is there."""
    reply = await control.ask("GET", PLAN)
    assert reply.status == 200
    found = json.loads(reply.body)
    [move] = found["moves"]
    assert (move["add"], move["remove"], move["primary"]) == (NODE, None, None)
    assert (move["doneBytes"], move["sizeBytes"], move["isUnderWay"]) == (50, 100, True)
    assert found["isPaused"] is False
    assert found["token"] == "abc"
    assert [each["id"] for each in found["tasks"]] == [A_TASK.id]


async def test_splits_are_shown_and_asked_for(control: FakeControl) -> None:
    """Where a range is cut, what for, and what it becomes."""
    row = SplitRow(
        tenant="acme",
        table="orders",
        range_id="r",
        low_hash=0,
        high_hash=9,
        at_hash=7,
        low_id="low",
        high_id="high",
        why="size",
        begun_at_us=0,
    )
    control.placing.splits = (row,)
    [split] = json.loads((await control.ask("GET", PLAN)).body)["splits"]
    assert (split["atHash"], split["why"]) == (7, "size")
    assert (split["lowRangeId"], split["highRangeId"]) == ("low", "high")
    path = "/admin/v1/placement/split"
    reply = await control.ask("POST", path, {"rangeId": "r"})
    assert json.loads(reply.body) == {"rangeId": "r", "task": "split_range-1"}
    assert control.placing.asked[0][:2] == ("split", "r")
    for body in ({}, {"rangeId": 7}, {"rangeId": "r", "more": 1}):
        assert (await control.ask("POST", path, body)).problem == "invalid"


async def test_a_plan_that_was_shown_is_carried_out(control: FakeControl) -> None:
    """It is named by its token, and a task says how far it is."""
    reply = await control.ask("POST", APPLY, {"token": "abc"})
    assert json.loads(reply.body) == {"task": A_TASK.id}
    assert control.placing.asked[0][:2] == ("apply", "abc")
    for body in ({}, {"token": 7}, {"token": "abc", "more": 1}):
        assert (await control.ask("POST", APPLY, body)).problem == "invalid"


async def test_moves_are_paused_and_undone(control: FakeControl) -> None:
    """The operator's credential is noted with each."""
    for is_on in (True, False):
        reply = await control.ask("PUT", PAUSE, {"paused": is_on})
        assert json.loads(reply.body) == {"isPaused": is_on}
    aborted = await control.ask("POST", "/admin/v1/placement/abort")
    assert json.loads(aborted.body) == {"isPaused": True, "ranges": 2}
    assert [each[:-1] for each in control.placing.asked] == [
        ("pause", True),
        ("pause", False),
        ("abort",),
    ]


@pytest.mark.parametrize("body", [{}, {"paused": 1}, {"paused": True, "more": 1}])
async def test_a_pause_is_said_in_full(control: FakeControl, body: dict[str, object]) -> None:
    """Anything else changes nothing."""
    assert (await control.ask("PUT", PAUSE, body)).problem == "invalid"
    assert control.placing.asked == []


async def test_what_a_node_is_to_do(control: FakeControl) -> None:
    """It stays, is drained or goes; nothing else is understood."""
    for intent, task in (("drain", A_TASK.id), ("decommission", A_TASK.id), ("stay", None)):
        reply = await control.ask("PUT", INTENT, {"intent": intent})
        assert (reply.status, json.loads(reply.body)["task"]) == (200, task)
    assert [each[1] for each in control.placing.asked] == [
        ComponentState.DRAINING,
        ComponentState.DECOMMISSIONING,
        ComponentState.ACTIVE,
    ]
    assert (await control.ask("PUT", INTENT, {"intent": "removed"})).problem == "invalid"
    assert (await control.ask("PUT", INTENT, {"intent": ["drain"]})).problem == "invalid"
    unknown = INTENT.replace(NODE, NODE[:-1] + "9")
    assert (await control.ask("PUT", unknown, {"intent": "drain"})).status == 404


async def test_whether_a_node_may_be_stopped(control: FakeControl) -> None:
    """With the reason if not."""
    reply = await control.ask("GET", f"/admin/v1/node/{NODE}/ok-to-stop")
    assert json.loads(reply.body) == {
        "isOkay": False,
        "losing": 1,
        "why": "A range needs it.",
        "reasons": ["A range needs it."],
    }


async def test_a_range_that_nobody_knows_is_discarded(control: FakeControl) -> None:
    """By its id, and only so."""
    path = f"/admin/v1/node/{NODE}/discard"
    reply = await control.ask("POST", path, {"rangeId": "r"})
    assert json.loads(reply.body) == {"id": NODE, "rangeId": "r", "task": A_TASK.id}
    assert control.placing.asked[0][:3] == ("discard", NODE, "r")
    assert (await control.ask("POST", path, {"rangeId": 7})).problem == "invalid"
