"""The bodies of DynamoDB requests: what is refused, what proves that no key comes twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.api.dynamodb.errors import AwsError
from dstore.api.dynamodb.json_members import decode

_REFUSED = {
    "empty": b"",
    "blank": b"  ",
    "no-json": b"hello",
    "cut": b'{"TableName":"abc"',
    "trailing": b'{"TableName":"abc"}}',
    "two": b"{}{}",
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "string": b'"TableName"',
    "nan": b'{"Limit":NaN}',
    "infinity": b'{"Limit":-Infinity}',
    "huge-float": b'{"Limit":1e400}',
    "leading-zero": b'{"Limit":01}',
    "single-quotes": b"{'a':1}",
    "trailing-comma": b'{"a":1,}',
    "comment": b'{"a":1}//',
    "control": b'{"a":"\x01"}',
    "bom": b'\xef\xbb\xbf{"a":1}',
    "latin-1": b'{"a":"\xe9"}',
    "overlong": b'{"a":"\xc0\x80"}',
    "raw-surrogate": b'{"a":"\xed\xa0\x80"}',
    "lone-high": rb'{"a":"\ud800"}',
    "lone-low": rb'{"a":"\udc00x"}',
    "lone-key": rb'{"\ud800":1}',
    "twice": b'{"a":1,"a":1}',
    "twice-spaced": b'{"a" : 1, "a" : 1}',
    "twice-nested": b'{"Item":{"p":{"S":"1"},"p":{"S":"2"}}}',
    "twice-in-list": b'{"a":[{"b":1,"b":2}]}',
    "twice-escaped": rb'{"a":1,"\u0061":2}',
    "twice-behind-colons": b'{"a":":","a":":::"}',
    # The escaped colons would stand for those of the pair that msgspec drops.
    "twice-with-escaped-colons": rb'{"a":1,"a":2,"b":"\u003a"}',
    "twice-with-escaped-colons-upper": rb'{"a":1,"a":2,"b":"\u003A"}',
    # The string that begins with a colon would stand for the key that is not followed by one.
    "twice-and-spaced": b'{"a" :1,"a":2,"b":":x"}',
    "twice-and-broken": b'{"a"\n:1,"a":2,"b":":x"}',
    "twice-and-tabbed": b'{"a"\t:1,"a":2,"b":":x"}',
    "twice-and-returned": b'{"a"\r:1,"a":2,"b":":x"}',
    "twice-and-spaced-as-text": b'{"a" :1,"a":2,"b":":x :y :z"}',
    "dropped-colon": rb'{"a":"\u003a\u003a","a":":"}',
    "unbalanced-deep": b'{"a":' * 100_000,
    "deep-list": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep-object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
}


@pytest.mark.parametrize("body", _REFUSED.values(), ids=_REFUSED.keys())
def test_bodies_that_are_no_object_are_refused(body: bytes) -> None:
    """A body of which nobody can tell what it means: SerializationException without a message.

    Source: dynalite test/connection.js, "should return SerializationException".
    """
    with pytest.raises(AwsError) as raised:
        decode(body)
    assert (raised.value.name, raised.value.text) == ("SerializationException", None)
    assert raised.value.status == 400


_TAKEN: dict[str, tuple[bytes, Any]] = {
    "empty": (b"{}", {}),
    "spaced": (b' { "a" : [ 1 , 2.5 , null , true ] } ', {"a": [1, 2.5, None, True]}),
    "expression": (
        b'{"ExpressionAttributeValues":{":v":{"S":"a:b"}},"UpdateExpression":"SET a = :v"}',
        {"ExpressionAttributeValues": {":v": {"S": "a:b"}}, "UpdateExpression": "SET a = :v"},
    ),
    "escaped-colon": (rb'{"a":"\u003a","b":"\u0022:"}', {"a": ":", "b": '":'}),
    "blank-before-colon": (b'{"a":"Note : x","b": ":"}', {"a": "Note : x", "b": ":"}),
    "lines": (b'{\n\t"a": 1,\r\n\t"b" : {"c"\n: ":"}\n}', {"a": 1, "b": {"c": ":"}}),
    "pair": (rb'{"a":"\ud83d\ude00"}', {"a": "\U0001f600"}),
    "same-key-elsewhere": (
        b'{"a":{"a":{"a":1}},"b":{"a":1}}',
        {"a": {"a": {"a": 1}}, "b": {"a": 1}},
    ),
    "long-integer": (b'{"Limit":12345678901234567890123}', {"Limit": 12345678901234567890123}),
}


@pytest.mark.parametrize(("body", "value"), _TAKEN.values(), ids=_TAKEN.keys())
def test_objects_are_decoded(body: bytes, value: Any) -> None:
    """What is one JSON object arrives, however it is spaced and escaped."""
    assert value == decode(body)


class _Pairs:
    """An object as pairs, some of whose keys may come twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet='ab:"\\\n é', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(st.text(alphabet='a:"\\', max_size=2), inner), max_size=4).map(_Pairs)
    ),
    max_leaves=8,
)


def _text(value: Any, escaped: bool, blanks: Iterator[str]) -> str:
    """Write JSON, with colons and quotes as escapes or as they are, and blanks before colons."""
    if isinstance(value, _Pairs):
        inner = ",".join(
            f"{_text(key, escaped, blanks)}{next(blanks)}:{_text(one, escaped, blanks)}"
            for key, one in value.pairs
        )
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{','.join(_text(one, escaped, blanks) for one in value)}]"
    text = json.dumps(value, ensure_ascii=escaped)
    return text.replace(":", r"\u003a") if escaped and isinstance(value, str) else text


def _is_twice(value: Any) -> bool:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value.pairs]
        return len(set(keys)) < len(keys) or any(_is_twice(one) for _, one in value.pairs)
    return isinstance(value, list) and any(map(_is_twice, value))


@given(
    st.lists(st.tuples(st.text(alphabet='a:"\\', max_size=2), _json), max_size=4).map(_Pairs),
    st.booleans(),
    st.lists(st.sampled_from(["", "", " ", "\n", "\t", "\r"]), min_size=1, max_size=4),
)
def test_a_key_that_comes_twice_is_always_found(
    value: _Pairs, escaped: bool, blanks: list[str]
) -> None:
    """Counting colons finds each duplicate, and never takes another body for one."""
    body = _text(value, escaped, cycle(blanks)).encode()
    if _is_twice(value):
        with pytest.raises(AwsError):
            decode(body)
    else:
        assert json.loads(body) == decode(body)


def test_large_bodies_take_time_in_proportion() -> None:
    """16 MiB of what is slowest, escapes of colons, are read in a second or so, not in hours."""
    body = b'{"a":"' + rb"\u003a" * (16 * 1024 * 1024 // 6) + b'"}'
    began = time.monotonic()
    decode(body)
    assert time.monotonic() - began < 10


def test_no_number_takes_long() -> None:
    """Anybody may send 64 KB of them, and they are read on the event loop: 9e307 took 25 µs."""

    def seconds(number: bytes) -> float:
        body = b'{"a":[' + b",".join([number] * 2_000) + b"]}"
        taken = []
        for _ in range(5):
            began = time.thread_time()
            decode(body)
            taken.append(time.thread_time() - began)
        return min(taken)

    plain = seconds(b"1.5")
    assert seconds(b"9e307") < 40 * plain
    assert seconds(b"5e-324") < 40 * plain


@pytest.mark.parametrize("number", ["1e309", "-1e309", "1e400", "1" * 400 + ".5", "1e999999999"])
def test_numbers_beyond_a_floats_range_are_refused(number: str) -> None:
    """Infinity is no number, and whoever cuts its fraction off fails."""
    with pytest.raises(AwsError, match="SerializationException"):
        decode(f'{{"a":{number}}}'.encode())
