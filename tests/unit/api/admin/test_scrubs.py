"""The operator asks for a scrub, and is told of every range."""

import json

from tests.unit.api.admin.fake_control import NODE, FakeControl

PATH = "/admin/v1/scrub/acme/orders"


async def test_a_scrub_is_begun_and_told() -> None:
    """A begin and a look differ in one word; a range whose primary is silent says so."""
    async with FakeControl().serve() as control:
        begun = await control.ask("POST", PATH)
        shown = await control.ask("GET", PATH)
        assert begun.status == shown.status == 200
        first, second = json.loads(shown.body)["ranges"]
        assert first == {
            "rangeId": "r-1",
            "lowHash": 0,
            "highHash": 7,
            "node": NODE,
            "state": "running",
            "isOpen": True,
            "why": "Found.",
            "doneBytes": 4_096,
            "totalBytes": 8_192,
            "scrubbedAt": "2023-11-14T22:13:20.000Z",
            "damaged": 1,
            "different": 2,
            "repairing": 0,
        }
        assert (second["state"], second["why"], second["isOpen"]) == ("unknown", "Away.", True)
        assert [each[2] for each in control.scrubbing.asked] == [True, False]


async def test_who_may_ask_and_of_what() -> None:
    """Operators only, and of a table that there is."""
    async with FakeControl().serve() as control:
        assert (await control.ask("POST", PATH, token=None)).status == 401
        assert (await control.ask("POST", "/admin/v1/scrub/acme/absent")).status == 404
