"""The operator has a global index made anew."""

import json

from tests.unit.api.admin.fake_control import FakeControl

PATH = "/admin/v1/rebuild-index/acme/orders/"


async def test_an_index_is_made_anew() -> None:
    """It is named by tenant, table and itself; who asked goes along for the audit log."""
    async with FakeControl().serve() as control:
        answer = await control.ask("POST", PATH + "by-state")
        assert answer.status == 200
        told = json.loads(answer.body)
        assert told == {"tenant": "acme", "table": "orders", "index": "by-state"}
        [(*named, actor)] = control.rebuilding.asked
        assert named == ["acme", "orders", "by-state"]
        assert actor


async def test_who_may_ask_and_of_what() -> None:
    """Operators only, and of an index that is declared."""
    async with FakeControl().serve() as control:
        assert (await control.ask("POST", PATH + "by-state", token=None)).status == 401
        assert (await control.ask("POST", PATH + "absent")).status == 404
        assert control.rebuilding.asked == []
