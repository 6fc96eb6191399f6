"""PutItem: the keys of items, of their table and of its indexes, and how large an item may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run
from tests.support.dynamodb_members import PARITY
from tests.support.dynamodb_values import LIMITS

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

SOURCE: Final = "dynalite test/putItem.js"
P: Final[dict[str, Any]] = {"p": {"S": "<ID>"}}
INVALID: Final = "One or more parameter values were invalid: "
NOT_VALID: Final = "One or more parameter values are not valid. "


def put(table: str = "P", **attributes: Any) -> dict[str, Any]:
    """Spell a request that puts these attributes."""
    return {"TableName": f"<{table}>", "Item": attributes}


def refused(name: str, request: dict[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


MISSING: Final = INVALID + "Missing the key {} in the item"
TYPE: Final = INVALID + "Type mismatch for key {} expected: {} actual: {}"
LONG: Final = INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes"
LONG_SORT: Final = (
    INVALID + "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
)
EMPTY: Final = (
    NOT_VALID + "The AttributeValue for a key attribute cannot contain an empty {} value. Key: {}"
)
INDEX_TYPE: Final = INVALID + "Type mismatch for Index Key {} Expected: {} Actual: {} IndexName: {}"
INDEX_EMPTY: Final = (
    NOT_VALID + "A value specified for a secondary index key is not supported. The AttributeValue "
    "for a key attribute cannot contain an empty string value. IndexName: gsi, IndexKey: x"
)
PC: Final[dict[str, Any]] = {"p": {"S": "<ID>"}, "c": {"S": "c"}}
KEYS: Final = [
    refused("no-key", put(), MISSING.format("p")),
    refused("other-key", put(a={"S": "a"}), MISSING.format("p")),
    refused("no-sort-key", put("PC", **P), MISSING.format("c")),
    refused("no-partition-key", put("PC", c={"S": "a"}), MISSING.format("p")),
    refused("key-number", put(p={"N": "1"}), TYPE.format("p", "S", "N")),
    refused("key-list", put(p={"L": []}), TYPE.format("p", "S", "L")),
    refused("key-null", put(p={"NULL": True}), TYPE.format("p", "S", "NULL")),
    refused("key-string-for-number", put("N", p={"S": "1"}), TYPE.format("p", "N", "S")),
    refused("key-string-for-binary", put("B", p={"S": "1"}), TYPE.format("p", "B", "S")),
    refused("sort-key-number", put("PC", **P, c={"N": "1"}), TYPE.format("c", "S", "N")),
    refused("sort-key-string", put("PN", **P, c={"S": "1"}), TYPE.format("c", "N", "S")),
    refused("sort-key-set", put("PB", **P, c={"BS": ["AQ=="]}), TYPE.format("c", "B", "BS")),
    refused("key-empty", put(p={"S": ""}), EMPTY.format("string", "p")),
    refused(
        "key-empty-binary",
        put("B", p={"B": ""}),
        EMPTY.format("binary", "p"),
        f"{PARITY}/error-messages/putItem.test.ts",
    ),
    refused("sort-key-empty", put("PC", **P, c={"S": ""}), EMPTY.format("string", "c")),
    refused("sort-key-empty-binary", put("PB", **P, c={"B": ""}), EMPTY.format("binary", "c")),
    refused("key-2049", put(p={"S": "a" * 2049}), LONG),
    refused("key-2049-binary", put("B", p={"B": "AAAA" * 683}), LONG),
    refused("sort-key-1025", put("PC", **P, c={"S": "a" * 1025}), LONG_SORT),
    refused("sort-key-1026-binary", put("PB", **P, c={"B": "AAAA" * 342}), LONG_SORT),
    *[
        Case(
            name=f"takes-{name}",
            request=put(table, **item),
            answer={},
            then=item,
            source=f"{PARITY}/limits/keyLength.test.ts",
        )
        for name, table, item in (
            ("key-2048", "P", {"p": {"S": "k" * 2048}}),
            ("key-2048-bytes", "P", {"p": {"S": "\u00e9" * 1024}}),
            ("key-1", "P", {"p": {"S": "k"}}),
            ("sort-key-1024", "PC", {**P, "c": {"S": "k" * 1024}}),
            ("binary-2046", "B", {"p": {"B": "AAAA" * 682}}),
            ("number-key", "N", {"p": {"N": "-12.5"}}),
            ("zero-key", "N", {"p": {"N": "0"}}),
            ("smallest-key", "PN", {**P, "c": {"N": "0." + "0" * 129 + "1"}}),
            ("control-characters", "P", {"p": {"S": "\u0000\u0001/\u007f"}}),
        )
    ],
    refused(
        "index-key-type",
        put("INDEXED", **PC, x={"N": "1"}),
        INDEX_TYPE.format("x", "S", "N", "gsi"),
    ),
    refused(
        "index-sort-key-type",
        put("INDEXED", **PC, x={"S": "a"}, y={"S": "1"}),
        INDEX_TYPE.format("y", "N", "S", "gsi"),
    ),
    refused(
        "local-index-key-type",
        put("INDEXED", **PC, z={"S": "1"}),
        INDEX_TYPE.format("z", "N", "S", "lsi"),
    ),
    refused(
        "index-key-list",
        put("INDEXED", **PC, x={"L": [{"S": "x"}]}),
        INDEX_TYPE.format("x", "S", "L", "gsi"),
        f"{PARITY}/error-messages/batchWriteItem.test.ts",
    ),
    refused(
        "index-key-empty",
        put("INDEXED", **PC, x={"S": ""}),
        INDEX_EMPTY,
        f"{PARITY}/error-messages/putItem.test.ts",
    ),
    Case(
        name="takes-half-an-index-key",
        request=put("INDEXED", **PC, x={"S": "a"}),
        answer={},
        then={**PC, "x": {"S": "a"}},
        source="Alternator test/alternator/test_gsi.py",
    ),
]

# 409,600 bytes, of which `p`, its value and `a` take the first part.
LONG_NAMES: Final[dict[str, Any]] = {f"{i}" + "a" * 60_000: {"S": ""} for i in range(7)}
ROOM: Final = 409_600 - len("p") - len("same-key") - len("a")
SIZES: Final = [
    Case(
        name="400-kb",
        request=put(p={"S": "same-key"}, a={"S": "a" * ROOM}),
        answer={},
        source=f"{PARITY}/limits/itemSize.test.ts",
    ),
    refused(
        "400-kb-and-1",
        put(p={"S": "same-key"}, a={"S": "a" * (ROOM + 1)}),
        "Item size has exceeded the maximum allowed size",
    ),
    refused(
        "400-kb-and-1-in-utf-8",
        put(p={"S": "same-key"}, a={"S": "\u00e9" * (ROOM // 2) + "ab"}),
        "Item size has exceeded the maximum allowed size",
        LIMITS,
    ),
    refused(
        "400-kb-and-1-of-names",
        put(p={"S": "same-key"}, **LONG_NAMES),
        "Item size has exceeded the maximum allowed size",
        LIMITS,
    ),
]
# What a number costs, measured at that limit.
NUMBERS: Final[dict[str, int]] = {
    "0": 1,
    "12": 2,
    "123": 3,
    "1010": 3,
    "0.0000001": 2,
    "1E125": 2,
    "1E-100": 2,
    "1.5": 3,
    "3.14159": 5,
    "123456": 4,
    "100.5": 4,
    "0.15": 2,
    "-42": 3,
}
for number, number_bytes in NUMBERS.items():
    room = ROOM - len("n") - number_bytes
    source = f"{PARITY}/limits/numberByteSize.test.ts"
    fits = put(p={"S": "same-key"}, n={"N": number}, a={"S": "a" * room})
    over = put(p={"S": "same-key"}, n={"N": number}, a={"S": "a" * (room + 1)})
    SIZES.append(Case(name=f"400-kb-with-{number}", request=fits, answer={}, source=source))
    text = "Item size has exceeded the maximum allowed size"
    SIZES.append(refused(f"400-kb-and-1-with-{number}", over, text, source))


@pytest.mark.parametrize("case", [*KEYS, *SIZES], ids=name_of)
def test_keys(tables: Tables, case: Case) -> None:
    """An item whose key or size cannot be is refused; one at the limit is kept."""
    run(tables, "PutItem", case)
