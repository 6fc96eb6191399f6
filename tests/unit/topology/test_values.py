"""Values read back as written, and what cannot be true is malformed."""

import json
from typing import Any

import pytest

from dstore.model.hashing import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import decode_definition, encode_definition
from dstore.model.table_settings import (
    BillingMode,
    Index,
    KeyAttribute,
    ProjectionType,
    TableSettings,
)
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from tests.support.topology import HALF, NODES, definition, placement, replica, uuid

TABLE = keys.TablePath("acme", "orders")
RANGE = keys.RangePath("acme", "orders", 0)
HELD = keys.NodeRangesPath(NODES[0], "acme", "orders")

FULL_SETTINGS = TableSettings(
    billing=BillingMode.PROVISIONED,
    index_attributes=(KeyAttribute(name="who", kind=KeyKind.BINARY),),
    global_indexes=(
        Index(
            name="by-who", hash_keys=("who",), projection=ProjectionType.INCLUDE, included=("x",)
        ),
    ),
    tags={"team": "a"},
)


@pytest.mark.parametrize("settings", [TableSettings(), FULL_SETTINGS])
def test_table_value_carries_the_whole_definition(settings: TableSettings) -> None:
    """A proxy and a node make the table's definition from this value alone."""
    defined = definition(settings=settings)
    encoded = values.encode(values.TableValue.of(defined, ResourceStatus.ACTIVE))
    assert values.decode(TABLE, encoded).definition(TABLE) == defined


def test_table_value_is_the_stored_form_of_the_node_database() -> None:
    """One stored form: what a node has in its rows reads like what etcd has."""
    defined = definition(settings=FULL_SETTINGS)
    row = json.loads(encode_definition(defined))
    value = json.loads(values.encode(values.TableValue.of(defined, ResourceStatus.ACTIVE)))
    assert {**value["schema"], "settings": value["settings"]} == row
    decoded = decode_definition(
        encode_definition(defined), tenant="acme", name="orders", table_id=defined.table_id
    )
    assert decoded == defined


def test_examples_of_the_specification_read() -> None:
    """SPEC.md's fields are enough where nothing else is needed to act."""
    details = values.decode(
        keys.DetailsPath(ComponentRole.NODE, NODES[0]),
        b'{"status":"okay","uri":"https://abc123:8080/"}',
    )
    assert details.status is values.ComponentStatus.OKAY
    of_table = keys.NodeTablePath(NODES[0], "acme", "orders")
    assert values.decode(of_table, b'{"status":"okay"}').status is values.HeldStatus.OKAY
    notice = values.decode(keys.NoticePath(NODES[0], 1), b'{"details":"aabbccdd"}')
    assert notice.details == "aabbccdd"


def test_fields_keep_the_specification_s_names() -> None:
    """Keys and fields are added, never renamed."""
    assert {"node", "highHash", "uri"} <= json.loads(placement()).keys()
    held = values.HeldRange(low_hash=0, high_hash=HALF, range_id=uuid(9))
    value = values.NodeRanges(low_hash=0, high_hash=HALF, table_id=uuid(8), ranges=(held,))
    assert json.loads(values.encode(value)) == {
        "lowHash": 0,
        "highHash": HALF,
        "tableId": uuid(8),
        "ranges": [{"lowHash": 0, "highHash": HALF, "rangeId": uuid(9)}],
    }


def test_unknown_fields_are_ignored() -> None:
    """A later version adds fields; this one goes on reading."""
    later = json.loads(placement()) | {"weight": 3}
    assert values.decode(RANGE, json.dumps(later).encode()) == values.decode(RANGE, placement())


def test_versions_read_what_each_other_s_nodes_know() -> None:
    """A former node says nothing of features, a later one says words that are news here."""
    path = keys.DetailsPath(ComponentRole.NODE, NODES[0])
    former = values.decode(path, b'{"status":"okay","uri":"https://n:1/"}')
    assert former.features == ()
    words = ["global_indexes", "Time Travel!", ""]
    later = {"status": "okay", "uri": "https://n:1/", "features": words, "moods": [1]}
    assert values.decode(path, json.dumps(later).encode()).features == tuple(words)


@pytest.mark.parametrize(
    "changed",
    [
        {"node": None},
        {"node": str(NODES[1])},
        {"node": "x" * 36},
        {"uri": "https://elsewhere:1/"},
        {"highHash": -1},
        {"highHash": 2**32},
        {"highHash": "5"},
        {"highHash": 1.5},
        {"epoch": 0},
        {"tableId": "../../../../../../../../etc/passwd000"},
        {"rangeId": uuid(1)[:-1] + "\n"},
        {"rangeId": uuid(1) + "0"},
        {"replicas": []},
        {"replicas": [json.loads(placement())["replicas"][0]] * 2},
        {"replicas": [json.loads(placement())["replicas"][0] | {"state": "learner"}]},
        {"replicas": [json.loads(placement())["replicas"][0] | {"state": "asleep"}]},
        {"replicas": [json.loads(placement())["replicas"][0] | {"incarnation": "z" * 36}]},
        {"replicas": [json.loads(placement())["replicas"][0] | {"uri": "no uri"}], "uri": "no uri"},
        {"status": "unheard"},
    ],
)
def test_placements_that_cannot_be_true_are_malformed(changed: dict[str, Any]) -> None:
    """A placement sends requests somewhere: what contradicts itself sends them nowhere."""
    encoded = json.dumps(json.loads(placement()) | changed).encode()
    with pytest.raises(values.Malformed) as refused:
        values.decode(RANGE, encoded)
    assert refused.value.path == RANGE.path
    assert refused.value.why


@pytest.mark.parametrize(
    "encoded",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"tableId": 5}', b"[" * 100_000, b" " * 2_000_000],
    ids=["empty", "cut", "null", "list", "no_utf8", "type", "deep", "huge"],
)
def test_what_is_no_value_is_malformed(encoded: bytes) -> None:
    """Any bytes may stand in etcd; none may end a watcher."""
    for path in (RANGE, TABLE, HELD, keys.LEADER, keys.TenantPath("acme")):
        with pytest.raises(values.Malformed):
            values.decode(path, encoded)


def test_later_formats_of_definitions_are_malformed() -> None:
    """A table in a format that nobody here knows is not guessed at."""
    value = json.loads(values.encode(values.TableValue.of(definition(), ResourceStatus.ACTIVE)))
    value["schema"]["format"] = 2
    decoded = values.decode(TABLE, json.dumps(value).encode())
    with pytest.raises(values.Malformed):
        decoded.definition(TABLE)


@pytest.mark.parametrize(
    ("low", "high", "ranges"),
    [
        (0, 5, [(0, 6)]),
        (0, 5, [(0, 5), (5, 9)]),
        (6, 9, [(6, 9), (0, 5)]),
        (5, 4, [(5, 4)]),
        (0, 5, []),
    ],
)
def test_held_ranges_are_in_order(low: int, high: int, ranges: list[tuple[int, int]]) -> None:
    """A node opens files for these: they are distinct, and SPEC.md's fields are the first's."""
    held = [{"lowHash": start, "highHash": end, "rangeId": uuid(start)} for start, end in ranges]
    value = {"lowHash": low, "highHash": high, "tableId": uuid(1), "ranges": held}
    with pytest.raises(values.Malformed):
        values.decode(HELD, json.dumps(value).encode())


def test_equal_replicas_are_one_object() -> None:
    """Ranges by the hundred thousand lie on few nodes: their texts are not kept each."""
    one, other = (values.decode(RANGE, placement(range_id=number)) for number in (1, 2))
    assert one.replicas is other.replicas
    assert one.node is one.replicas[0].node
    assert one.uri is other.uri
    assert replica(0) == one.replicas[0]
