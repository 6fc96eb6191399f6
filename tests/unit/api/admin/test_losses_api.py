"""/admin/v1: ranges that nobody can open any more."""

from __future__ import annotations

import json

from tests.unit.api.admin.fake_control import A_RANGE, FakeControl
from tests.unit.api.admin.fake_losing import GONE, LEFT

RANGE = f"/admin/v1/placement/range/{A_RANGE.range_id}"


async def test_what_is_left_is_shown(control: FakeControl) -> None:
    """Who answers, how far its log goes, and who is missing."""
    found = json.loads((await control.ask("GET", f"{RANGE}/loss")).body)
    assert (found["best"], found["missing"], found["isLossless"]) == (LEFT, [GONE], False)
    assert (found["possibleLoss"], found["whyNot"]) == (False, None)
    best, lost = found["replicas"]
    assert (best["epoch"], best["sequence"], best["entries"]) == (3, 70, 12)
    assert best["newestAt"] == "1970-01-01T00:00:01.000Z"
    assert (lost["isHeard"], lost["isAlive"], lost["newestAt"]) == (False, False, None)


async def test_what_is_left_is_accepted(control: FakeControl) -> None:
    """With the nodes that are gone, and why; a task says how far it is."""
    body = {"gone": [GONE, GONE], "reason": "burnt"}
    reply = await control.ask("POST", f"{RANGE}/accept-loss", body)
    assert json.loads(reply.body) == {"rangeId": A_RANGE.range_id, "task": "accept_loss-1"}
    assert control.losing.asked[0][:3] == ("accept", (GONE,), "burnt")
    wrong: tuple[object, ...] = (
        {},
        {"gone": [GONE]},
        {"gone": GONE, "reason": "burnt"},
        {"gone": [7], "reason": "burnt"},
        {"gone": [], "reason": 7},
        {"gone": [GONE] * 100, "reason": "burnt"},
        {"gone": [], "reason": "burnt", "more": 1},
    )
    for each in wrong:
        assert (await control.ask("POST", f"{RANGE}/accept-loss", each)).problem == "invalid"


async def test_a_loss_is_cleared(control: FakeControl) -> None:
    """With a reason."""
    reply = await control.ask("POST", f"{RANGE}/clear-loss", {"reason": "compared"})
    assert json.loads(reply.body) == {"rangeId": A_RANGE.range_id, "task": "clear_loss-1"}
    for each in ({}, {"reason": 7}, {"reason": "x", "gone": []}):
        assert (await control.ask("POST", f"{RANGE}/clear-loss", each)).problem == "invalid"


async def test_there_is_no_such_range(control: FakeControl) -> None:
    """All three say so."""
    other = "/admin/v1/placement/range/none"
    assert (await control.ask("GET", f"{other}/loss")).status == 404
    for path, body in (
        ("accept-loss", {"gone": [], "reason": "x"}),
        ("clear-loss", {"reason": "x"}),
    ):
        assert (await control.ask("POST", f"{other}/{path}", body)).status == 404
