"""Which features a table needs its nodes to know, and which a change of its settings begins."""

from __future__ import annotations

from dataclasses import replace

from dstore.model.features import KNOWN_HERE, Feature, begun_by, needed_by
from dstore.model.index_tables import index_table_definition
from dstore.model.table_settings import (
    NO_SETTINGS,
    Index,
    ProjectionType,
    TableSettings,
    TimeToLive,
)
from dstore.model.tables import TableId
from dstore.storage.log_records import RecordKind
from tests.support.topology import definition, uuid

BY_STATE = Index(name="by-state", hash_keys=("id",), projection=ProjectionType.ALL)
BY_DAY = replace(BY_STATE, name="by-day")
EXPIRING = TimeToLive(attribute="until", is_enabled=True, changed_at_us=1)
OF_BEFORE = {RecordKind.PUT, RecordKind.DELETE, RecordKind.OPENING, RecordKind.NOTHING}
OF_FEATURE = {
    RecordKind.MEMO: Feature.GLOBAL_INDEXES,
    RecordKind.EXPIRE: Feature.TIME_TO_LIVE,
}


def test_every_kind_of_record_is_of_a_feature() -> None:
    """A kind that former nodes can't read needs a word, or a cluster that is upgraded breaks."""
    assert set(RecordKind) == OF_BEFORE | set(OF_FEATURE)
    assert set(OF_FEATURE.values()) <= set(Feature)


def test_words_are_what_they_were() -> None:
    """Nodes of other versions know a feature by its word, which therefore never changes."""
    assert KNOWN_HERE == ("global_indexes", "local_indexes", "time_to_live")


def test_a_table_needs_what_it_uses() -> None:
    """So its ranges are kept from nodes that know less; a plain table is nobody's burden."""
    assert needed_by(definition()) == frozenset()
    with_all = TableSettings(
        local_indexes=(BY_DAY,), global_indexes=(BY_STATE,), time_to_live=EXPIRING
    )
    assert needed_by(definition(settings=with_all)) == set(Feature)
    was = TableSettings(time_to_live=replace(EXPIRING, is_enabled=False))
    assert needed_by(definition(settings=was)) == {Feature.TIME_TO_LIVE}, "its log may tell of some"
    hidden = index_table_definition(
        definition(), BY_STATE, table_id=TableId(uuid(9)), created_at_us=1
    )
    assert needed_by(hidden) == {Feature.GLOBAL_INDEXES}


def test_only_what_a_change_begins_is_asked_for() -> None:
    """Removing an index, or tagging a table that has one, is no use of anything new."""
    one = TableSettings(global_indexes=(BY_STATE,))
    two = TableSettings(global_indexes=(BY_STATE, BY_DAY))
    assert begun_by(NO_SETTINGS, one) == {Feature.GLOBAL_INDEXES}
    assert begun_by(one, two) == {Feature.GLOBAL_INDEXES}
    assert begun_by(two, one) == frozenset()
    assert begun_by(one, replace(one, tags={"a": "b"})) == frozenset()
    expiring = TableSettings(time_to_live=EXPIRING)
    assert begun_by(NO_SETTINGS, expiring) == {Feature.TIME_TO_LIVE}
    disabled = TableSettings(time_to_live=replace(EXPIRING, is_enabled=False))
    assert begun_by(expiring, disabled) == frozenset()
    assert begun_by(disabled, expiring) == {Feature.TIME_TO_LIVE}
