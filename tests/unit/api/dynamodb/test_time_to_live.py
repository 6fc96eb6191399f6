"""What UpdateTimeToLive makes of a table's settings, with its rest between two changes."""

from __future__ import annotations

from typing import Any

import pytest

from dstore.api.dynamodb.actions.update_time_to_live import changed
from dstore.api.dynamodb.errors import AwsError
from dstore.base.clock import US_PER_S
from dstore.base.expiry_limits import EXPIRY_CHANGE_S
from dstore.model.keys import KeyKind
from dstore.model.stored_definition import decode_definition, encode_definition
from dstore.model.table_settings import KeyAttribute, TableSettings, TimeToLive
from dstore.model.tables import Door, TableDefinition, TableId

NOW_US = 1_800_000_000 * US_PER_S
REST_US = EXPIRY_CHANGE_S * US_PER_S


def ask(name: str, *, is_enabled: bool) -> dict[str, Any]:
    """Make a specification."""
    return {"AttributeName": name, "Enabled": is_enabled}


def test_on_off_and_on_another() -> None:
    """An attribute is named anew by disabling the former, and after a rest."""
    on = changed(TableSettings(), ask("a", is_enabled=True), now_us=NOW_US)
    assert on.time_to_live == TimeToLive(attribute="a", is_enabled=True, changed_at_us=NOW_US)
    assert on.expires_by == "a"
    off = changed(on, ask("a", is_enabled=False), now_us=NOW_US + REST_US)
    assert off.expires_by is None
    again = changed(off, ask("b", is_enabled=True), now_us=NOW_US + 2 * REST_US)
    assert again.expires_by == "b"


@pytest.mark.parametrize(
    ("after_us", "is_refused"),
    [(0, True), (REST_US - 1, True), (REST_US, False), (2 * REST_US, False), (-1, False)],
)
def test_the_rest_between_two_changes(after_us: int, is_refused: bool) -> None:
    """Half an hour; where the clock was set back meanwhile nobody is locked out."""
    on = changed(TableSettings(), ask("a", is_enabled=True), now_us=NOW_US)
    if is_refused:
        with pytest.raises(AwsError, match="modified multiple times within a fixed interval"):
            changed(on, ask("a", is_enabled=False), now_us=NOW_US + after_us)
    else:
        assert changed(on, ask("a", is_enabled=False), now_us=NOW_US + after_us).expires_by is None


def test_what_is_wrong_comes_before_the_rest() -> None:
    """Enabled already, active on another attribute, disabled already: whenever it is asked."""
    on = changed(TableSettings(), ask("a", is_enabled=True), now_us=NOW_US)
    off = changed(on, ask("a", is_enabled=False), now_us=NOW_US + REST_US)
    for before, asked, sentence in (
        (on, ask("a", is_enabled=True), "TimeToLive is already enabled"),
        (on, ask("b", is_enabled=True), "active on a different AttributeName"),
        (on, ask("b", is_enabled=False), "current AttributeName is a"),
        (off, ask("a", is_enabled=False), "TimeToLive is already disabled"),
    ):
        for now_us in (NOW_US + REST_US + 1, NOW_US + 9 * REST_US):
            with pytest.raises(AwsError, match=sentence):
                changed(before, asked, now_us=now_us)


def test_it_is_stored_with_the_definition() -> None:
    """What is written is read, and a definition of before it has none."""
    definition = TableDefinition(
        tenant="acme",
        name="orders",
        table_id=TableId("2d3b1e0c-1111-4222-8333-944455556666"),
        partition=KeyAttribute(name="p", kind=KeyKind.STRING),
        door=Door.DYNAMODB,
        created_at_us=1,
        settings=changed(TableSettings(), ask("a", is_enabled=True), now_us=NOW_US),
    )
    names = {"tenant": "acme", "name": "orders", "table_id": definition.table_id}
    stored = encode_definition(definition)
    assert decode_definition(stored, **names) == definition  # type: ignore[arg-type]
    former = stored.replace('"time_to_live"', '"unknown_then"')
    assert decode_definition(former, **names).settings == TableSettings()  # type: ignore[arg-type]
