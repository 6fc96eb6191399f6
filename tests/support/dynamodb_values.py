"""Attribute values: refused ones with their sentences, and numbers as they come back.

The service has two generations of them: BatchWriteItem and Scan say `BAD_VALUES`, other reads
`NEWER_VALUES`, and PutItem, UpdateItem and DeleteItem `WRITTEN_VALUES`.

The older sentences are dynalite's validations/index.js `validateAttributeValue` and `checkNum`,
recorded from the real service (dynalite test/putItem.js, test/getItem.js); the limits of numbers
are the developer guide's.
"""

from __future__ import annotations

from typing import Any, Final

from tests.support.dynamodb_cases import enveloped

LAYERS: Final = "paritysuite/dynamodb-conformance tests/tier3/error-messages/valueLayers.test.ts"
EXPONENTS: Final = "paritysuite/dynamodb-conformance tests/tier3/limits/numberExponent.test.ts"
VALIDATIONS: Final = "dynalite validations/index.js validateAttributeValue"
LIMITS: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
    "HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number"
)
PARITY_NUMBERS: Final = (
    "paritysuite/dynamodb-conformance tests/tier3/limits/numberPrecision.test.ts"
)

_INVALID: Final = "One or more parameter values were invalid: "
_NOT_NUMERIC: Final = "The parameter cannot be converted to a numeric value"
_OVERFLOW: Final = (
    "Number overflow. Attempting to store a number with magnitude larger than supported range"
)
_UNDERFLOW: Final = (
    "Number underflow. Attempting to store a number with magnitude smaller than supported range"
)
_DIGITS: Final = "Attempting to store more than 38 significant digits in a Number"
_EMPTY: Final = (
    "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
)
_SEVERAL: Final = (
    "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "
    "supported datatypes"
)

# What is wrong -> the value, the sentence.
BAD_VALUES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "empty": ({}, _EMPTY),
    "unknown-type": ({"Q": "a"}, _EMPTY),
    "null-member": ({"S": None}, _EMPTY),
    "empty-in-list": ({"L": [{}]}, _EMPTY),
    "empty-in-map": ({"M": {"k": {}}}, _EMPTY),
    "two-types": ({"S": "a", "N": "1"}, _SEVERAL),
    "two-types-in-map": ({"M": {"k": {"S": "a", "BOOL": True}}}, _SEVERAL),
    "null-false": (
        {"NULL": False},
        f"{_INVALID}Null attribute value types must have the value of true",
    ),
    "empty-string-set": ({"SS": []}, f"{_INVALID}An string set  may not be empty"),
    "empty-number-set": ({"NS": []}, f"{_INVALID}An number set  may not be empty"),
    "empty-binary-set": ({"BS": []}, f"{_INVALID}Binary sets should not be empty"),
    "empty-set-in-list": ({"L": [{"SS": []}]}, f"{_INVALID}An string set  may not be empty"),
    "same-strings": (
        {"SS": ["a", "b", "a"]},
        f"{_INVALID}Input collection [a, b, a] contains duplicates.",
    ),
    "same-strings-unordered": (
        {"SS": ["b", "a", "b"]},
        f"{_INVALID}Input collection [b, a, b] contains duplicates.",
    ),
    "same-numbers": ({"NS": ["1", "2", "1"]}, "Input collection contains duplicates"),
    "equal-numbers": ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
    "same-binaries": (
        {"BS": ["Yg==", "Yg=="]},
        f"{_INVALID}Input collection [Yg==, Yg==]of type BS contains duplicates.",
    ),
    "same-binaries-unordered": (
        {"BS": ["/w==", "AA==", "AA=="]},
        f"{_INVALID}Input collection [/w==, AA==, AA==]of type BS contains duplicates.",
    ),
    "number-empty": ({"N": ""}, _NOT_NUMERIC),
    "number-text": ({"N": "b"}, f"{_NOT_NUMERIC}: b"),
    "number-nan": ({"N": "NaN"}, f"{_NOT_NUMERIC}: NaN"),
    "number-infinity": ({"N": "Infinity"}, f"{_NOT_NUMERIC}: Infinity"),
    "number-hexadecimal": ({"N": "0x10"}, f"{_NOT_NUMERIC}: 0x10"),
    "number-space": ({"N": "1 2"}, f"{_NOT_NUMERIC}: 1 2"),
    "number-underscore": ({"N": "1_000"}, f"{_NOT_NUMERIC}: 1_000"),
    "number-comma": ({"N": "1,5"}, f"{_NOT_NUMERIC}: 1,5"),
    "number-two-points": ({"N": "1.2.3"}, f"{_NOT_NUMERIC}: 1.2.3"),
    "number-no-exponent": ({"N": "1e"}, f"{_NOT_NUMERIC}: 1e"),
    "number-arabic-digits": ({"N": "\u0661\u0662"}, f"{_NOT_NUMERIC}: \u0661\u0662"),
    "number-39-digits": ({"N": "1" * 39}, _DIGITS),
    "number-39-digits-behind-point": ({"N": "0." + "1" * 39}, _DIGITS),
    "number-over": ({"N": "1e126"}, _OVERFLOW),
    "number-over-negative": ({"N": "-1e126"}, _OVERFLOW),
    "number-over-far": ({"N": "1e999999999"}, _OVERFLOW),
    "number-under": ({"N": "1e-131"}, _UNDERFLOW),
    "number-under-negative": ({"N": "-1e-131"}, _UNDERFLOW),
    "number-under-far": ({"N": "1e-999999999"}, _UNDERFLOW),
    "number-over-32-bits": ({"N": "1e2147483647"}, _UNDERFLOW),
    "number-in-set-text": ({"NS": ["1", "b"]}, f"{_NOT_NUMERIC}: b"),
    "number-in-set-empty": ({"NS": ["1", ""]}, _NOT_NUMERIC),
    "number-in-set-over": ({"NS": ["1", "1e126"]}, _OVERFLOW),
    "number-in-list": ({"L": [{"N": "x"}]}, f"{_NOT_NUMERIC}: x"),
    "number-before-two-types": ({"N": "b", "S": "a"}, f"{_NOT_NUMERIC}: b"),
    "empty-set-before-two-types": (
        {"SS": [], "S": "a"},
        f"{_INVALID}An string set  may not be empty",
    ),
}

_NEWER: Final[dict[str, str]] = {
    "same-strings": f'{_INVALID}Input collection ["a", "b", "a"] contains duplicates.',
    "same-strings-unordered": f'{_INVALID}Input collection ["a", "b", "b"] contains duplicates.',
    "same-numbers": f"{_INVALID}Input collection contains duplicates.",
    "equal-numbers": f"{_INVALID}Input collection contains duplicates.",
    "same-binaries": f'{_INVALID}Input collection ["Yg==","Yg=="]of type BS contains duplicates.',
    "same-binaries-unordered": f'{_INVALID}Input collection ["AA==","/w==","AA=="]of type BS '
    "contains duplicates.",
    "number-empty": f"{_NOT_NUMERIC}: ",
    "number-in-set-empty": f"{_NOT_NUMERIC}: ",
    "number-over-32-bits": _OVERFLOW,
}
NEWER_VALUES: Final = {
    name: (value, _NEWER.get(name, text)) for name, (value, text) in BAD_VALUES.items()
}
# What is said outside the envelope: nubo-db/dynoxide pull request 152.
_BARE: Final = (_EMPTY, _SEVERAL)
WRITTEN_VALUES: Final = {
    name: (value, text if text in _BARE else enveloped(text))
    for name, (value, text) in NEWER_VALUES.items()
}
# Exponents that no BigDecimal can have, and zeros that are written with one out of range.
BAD_EXPONENTS: Final[dict[str, str]] = {
    "1e99999999999": _OVERFLOW,
    "-1e99999999999": _OVERFLOW,
    "1e-99999999999": _UNDERFLOW,
    "1e2147483648": _OVERFLOW,
    "1e-2147483648": _UNDERFLOW,
    "1e9223372036854775808": f"{_NOT_NUMERIC}: 1e9223372036854775808",
    "0e126": _OVERFLOW,
    "0e-131": _UNDERFLOW,
}

# A number as it is given -> as it comes back.
NUMBERS: Final[dict[str, str]] = {
    "0": "0",
    "0e125": "0",
    "-0": "0",
    "0.0": "0",
    "00042": "42",
    "-007": "-7",
    "1.0": "1",
    "3.1400": "3.14",
    "1.50": "1.5",
    "1.5E2": "150",
    "1e3": "1000",
    "1E+3": "1000",
    "12e-1": "1.2",
    ".5": "0.5",
    "100": "100",
    "1E2": "100",
    "0.00001": "0.00001",
    "123456789012345678": "123456789012345678",
    "12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
    "-0.12345678901234567890123456789012345678": "-0.12345678901234567890123456789012345678",
    "1e37": "1" + "0" * 37,
    "1e-37": "0." + "0" * 36 + "1",
    "9.9999999999999999999999999999999999999E+125": "9" * 38 + "0" * 88,
    "-9.9999999999999999999999999999999999999E+125": "-" + "9" * 38 + "0" * 88,
    "1E-130": "0." + "0" * 129 + "1",
    "-1e-130": "-0." + "0" * 129 + "1",
}

# Values that come back as they were given.
GOOD_VALUES: Final[dict[str, dict[str, Any]]] = {
    "string": {"S": "abc"},
    "empty-string": {"S": ""},
    "unicode": {"S": 'h\u00e9llo \u65e5\u672c \U0001f600 \u0000\n\t"\\'},
    "binary": {"B": "AAECAw=="},
    "empty-binary": {"B": ""},
    "true": {"BOOL": True},
    "false": {"BOOL": False},
    "null": {"NULL": True},
    "string-set": {"SS": ["b", "a", "", "\u00e9"]},
    "number-set": {"NS": ["3", "-1", "2.5"]},
    "binary-set": {"BS": ["AQ==", "", "Ag=="]},
    "empty-list": {"L": []},
    "list": {"L": [{"S": "a"}, {"N": "1"}, {"L": [{"NULL": True}]}, {"M": {}}]},
    "empty-map": {"M": {}},
    "map": {"M": {"k": {"S": "v"}, "a.b": {"SS": ["x"]}}},
}


def nested(levels: int) -> dict[str, Any]:
    """Nest a string in this many lists."""
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]}
    return value
