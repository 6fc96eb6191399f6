"""The strict decoder against a corpus in the manner of the public JSON parsing suites.

The names follow those suites: what RFC 8259 accepts and we accept, what it forbids, and what it
leaves open and we refuse (duplicate keys, lone surrogates, a byte order mark, huge numbers, depth).
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.api.http.json_body import decode_object
from dstore.model.errors import RefusalKind, Refused
from dstore.model.values import NumberText


def deep(levels: int, *, opening: str = '{"a":', closing: str = "}") -> bytes:
    """Nest objects or arrays in each other, the outermost an object."""
    return b'{"a":' + (opening * (levels - 1) + "1" + closing * (levels - 1)).encode() + b"}"


# Values that stand behind `{"a": ` … `}`, with what the standard library makes of them.
ACCEPTED_VALUES: list[bytes] = [
    *(b"0", b"-0", b"1", b"-1", b"123", b"0.5", b"-0.5", b"1.50", b"0.0", b"-0.0"),
    *(b"1e2", b"1E2", b"1e+2", b"1E-2", b"1.5e2", b"0e1", b"0e+1", b"0E-5", b"-1.25E+10"),
    *(b"1" * 38, b"-" + b"9" * 38, b"0." + b"1" * 38, b"1" + b"0" * 125, b"1E-130", b"9.9E125"),
    *(b"0e999999", b"1.000000000000000000000000000000000000000000", b"0." + b"0" * 129 + b"1"),
    *(b"true", b"false", b"null", b'""', b'"x"', b'" "', b'"\x7f"', b"[]", b"{}", b"[[]]", b"[{}]"),
    *(b"[1]", b"[1,2]", b"[ 1 , 2 ]", b"[null]", b"[true,false]", b'[""]', b'["a",["b"]]'),
    *(b'{"b":1}', b'{ "b" : 1 }', b'{"b":{"c":{}}}', b'{"b":[],"c":[]}', b'{"a":1}', b'{"":1}'),
    *(
        b'"\\""',
        b'"\\\\"',
        b'"\\/"',
        b'"\\b\\f\\n\\r\\t"',
        b'"\\u0041"',
        b'"\\u0000"',
        b'"\\u00e9"',
    ),
    *(b'"\\uD834\\uDD1E"', b'"\\ud83d\\ude00"', b'"\\uDBFF\\uDFFF"', b'"\\uFFFF"', b'"\\uFDD0"'),
    *(
        b'"\\\\ud800"',
        b'"\\\\\\\\uDEAD"',
        b'"\\\\\\ud83d\\ude00"',
        b'"\\u005C\\u0022"',
        b'"\\u2028"',
    ),
    *(
        b'"\xc3\xa9"',
        b'"\xe6\x9d\xb1"',
        b'"\xf0\x9f\x98\x80"',
        b'"\xe2\x80\xa8"',
        b'"\xef\xbf\xbf"',
    ),
    *(b'"\xef\xbb\xbf"', b'"[[[[{{{{"', b'"' + b"[" * 100 + b'"', b'"\\"' + b"{" * 100 + b'\\""'),
    *(b'"' + b"]" * 100 + b'"', b"[" + b"[]," * 99 + b"[]]", b"[" + b"{}," * 99 + b"[[]]]"),
    *(b'"/* no comment */"', b'"NaN"', b'"<script>"', b'"\xc2\xa0"', b'"a\\u000ab"', b'"\\\\"'),
]

ACCEPTED_BODIES: list[bytes] = [
    *(b"{}", b" {} ", b"\t\r\n{}\n", b'{"a":1,"b":2}', b'{"A":1,"a":2}', b'{"a ":1,"a":2}'),
    *(
        b'{"\\u0061b":1,"a":2}',
        b'{"":0}',
        b'{"\\u0000":0}',
        b'{"a":{"a":{"a":1}}}',
        b'{"__proto__":1}',
    ),
    *(b'{"a":[{"b":1},{"b":2}]}', deep(32), deep(32, opening="[", closing="]")),
    b'{"x":"' + b"y" * 100_000 + b'"}',
]

REFUSED_VALUES: list[bytes] = [
    *(b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"+1", b"01", b"-01", b"00", b"1."),
    *(b".5", b"-.5"),
    *(b"-", b"--1", b"1e", b"1e+", b"1E-", b"1.e1", b"0x1", b"1_000", b"1,000", b"1 000"),
    *(b"1a", b"1.2.3"),
    *(b"0.e1", b"1e1.5", b"2.e+3", b"-foo", b"- 1", b"Inf", b"nan", b"1f", b"0b1", b"1L"),
    *(b"012", b"++1"),
    *("\uff11".encode(), "1\u0661".encode(), "\u22121".encode(), b"1" * 39, b"1." + b"1" * 38),
    *(b"1E126", b"1E-131", b"-1E126", b"1e1000000", b"1e-1000000"),
    *(b"1" * 5_000, b"0." + b"0" * 400),
    *(b"True", b"TRUE", b"tru", b"truee", b"nul", b"None", b"undefined", b"fals", b"'a'"),
    *(b"a", b"`a`"),
    *(b'"', b'"a', b'a"', b'"\\"', b'"a\\', b'"\\x41"', b'"\\a"', b'"\\0"', b'"\\u"'),
    *(b'"\\u12"', b'"\\u123"'),
    *(b'"\\u12G4"', b'"\\U0041"', b'"\\\'"', b'"\\ "', b'"\\u+123"', b'"\\u 123"', b'"\\u1_23"'),
    *(b'"\x00"', b'"\x01"', b'"\x1f"', b'"\n"', b'"\r"', b'"\t"', b'"a\x0bb"'),
    *(b'"a" "b"', b'"a""b"'),
    *(b'"\\ud800"', b'"\\udfff"', b'"\\uD800x"', b'"\\uD800\\n"'),
    *(b'"\\uD800\\uD800"', b'"\\uDC00\\uD800"'),
    *(b'"\\uD800\\u0041"', b'"\\\\\\uDEAD"', b'["\\ud83d"]'),
    *(b'{"\\ud83d":1}', b'"\\ud83d\\ude00\\ude00"'),
    *(b'"\xff"', b'"\xc3"', b'"\xc3("', b'"\xa0"', b'"\xc0\x80"'),
    *(b'"\xe0\x80\xaf"', b'"\xed\xa0\x80"'),
    *(b'"\xed\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\xf0\x9f\x98"'),
    *(b"\xff", b"\xe9"),
    *(b"[", b"]", b"[1", b"1]", b"[1,]", b"[,1]", b"[,]", b"[1,,2]", b"[1 2]", b"[1:2]"),
    *(b"[1}", b"[1;2]"),
    *(b"{", b'{"b"', b'{"b":', b'{"b":}', b'{"b":1,}', b'{,"b":1}', b'{"b" 1}'),
    *(b'{"b",1}', b'{"b":1]'),
    *(b"{b:1}", b"{'b':1}", b"{1:1}", b"{null:1}", b'{"b":1 "c":2}', b'{"b"::1}'),
    *(b'{"b":1,,"c":2}', b'{"b":1:2}'),
    *(b'{"b":1,"b":1}', b'{"b":1,"b":2}', b'{"b":1,"\\u0062":2}'),
    *(b'[{"b":{},"b":{}}]', b'{"":1,"":2}'),
    *(b'{"b":1,"c":2,"b":3}', b"/* x */ 1", b"1 // x", b"# 1", b"", b" ", b"...", b"*"),
    *(b"$", b"\\u0031"),
    *("\u00a01".encode(), "1\u2060".encode(), b"1\x0c", b"1\x0b", b"\x001", b"\xef\xbb\xbf1"),
]

REFUSED_BODIES: list[bytes] = [
    *(b"", b" ", b"\n", b"\x00", b"null", b"1", b'"a"', b"[]", b"[{}]", b"true", b"{} {}", b"{}{}"),
    *(b"{}x", b"{},", b"{}]", b"{}}", b"{};", b"{}//", b"{}\x00", b"{}\xa0"),
    *(b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00"),
    *("{}".encode("utf-16-be"), "{}".encode("utf-32-le"), b'{"a":1,"a":1}', b"{'a':1}", b"{a:1}"),
    *(b"{", b"}"),
    *(b'{"a"}', b'{"a":}', b'{"a":1', b'{"a":1,', b'{"a":1]', b"{:1}", b"{,}"),
    *(b'{"a":1}{"b":2}', b'{"a":1}\n{"b":2}'),
    *(deep(33), deep(33, opening="[", closing="]")),
    *(deep(33, opening='{"x":"]]]]","a":'), deep(100_000)),
    *(b"[" * 400_000, b'{"a":' * 100_000, b'{"a":[' * 20_000),
    *(b'"' + b'\\"' * 100_000, b"]" * 100_000),
]


def kept(text: str) -> NumberText:
    """Stand in for the decoder's own numbers in the expected result."""
    return NumberText(text)


@pytest.mark.parametrize(
    "body",
    [b'{"a": ' + value + b"}" for value in ACCEPTED_VALUES] + ACCEPTED_BODIES,
    ids=lambda body: ascii(body[:40]),
)
def test_accepted(body: bytes) -> None:
    """Strict JSON is understood as the standard library does, numbers spelled as they came."""
    expected = json.loads(body, parse_int=kept, parse_float=kept)
    decoded = decode_object(body, what="entry")
    assert expected == decoded
    assert kinds(expected) == kinds(decoded)


def kinds(value: Any) -> Any:
    """Tell a number from the string of its digits, at every depth."""
    if isinstance(value, dict):
        return {name: kinds(element) for name, element in value.items()}
    return [kinds(element) for element in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(
    "body",
    [b'{"a": ' + value + b"}" for value in REFUSED_VALUES] + REFUSED_BODIES,
    ids=lambda body: ascii(body[:40]),
)
def test_refused(body: bytes) -> None:
    """Everything else is one kind of refusal, in a short sentence, never another exception."""
    with pytest.raises(Refused) as caught:
        decode_object(body, what="entry")
    assert caught.value.kind is RefusalKind.INVALID
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 250


def test_the_corpus_is_large() -> None:
    """A corpus that shrinks by accident proves less than it says."""
    accepted = len(ACCEPTED_VALUES) + len(ACCEPTED_BODIES)
    assert accepted >= 100
    assert len(REFUSED_VALUES) + len(REFUSED_BODIES) >= 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The entry is empty; send a JSON object, such as {}."),
        (b"[1]", "The entry is not a JSON object; send one, such as {}."),
        (b'{"a":1,"a":2}', "The key 'a' comes twice in one object; keep one of them."),
        (b'{"a":NaN}', "NaN is not a JSON number; leave it out, or send null or a string."),
        (b'{"a":"\xff"}', "The entry is not valid UTF-8 at byte 6; encode it in UTF-8."),
        (b"\xef\xbb\xbf{}", "The entry begins with a byte order mark; leave it out."),
        (deep(33), "The entry is nested deeper than 32 levels; flatten it."),
        (
            b'{"a":1\n,}',
            (
                "The entry is not valid JSON at line 2, column 2 (Expecting property name enclosed "
                "in double quotes); correct it and send it again."
            ),
        ),
        (
            b'{"a":"\\ud83d"}',
            (
                "The entry has half of a surrogate pair, \\ud83d, at character 6; send both "
                "halves, or the character itself."
            ),
        ),
    ],
)
def test_sentences(body: bytes, sentence: str) -> None:
    """A refusal says where it is wrong and what to do, for people to read."""
    with pytest.raises(Refused) as caught:
        decode_object(body, what="entry")
    assert sentence == caught.value.message


def test_nothing_long_is_echoed() -> None:
    """A value may be a secret or a megabyte: a sentence quotes at most 40 characters of it."""
    for body in (
        b'{"' + b"k" * 500 + b'":1,"' + b"k" * 500 + b'":2}',
        b'{"a":' + b"7" * 500 + b"}",
        b'{"a":"' + b"s" * 500,
    ):
        with pytest.raises(Refused) as caught:
            decode_object(body, what="entry")
        assert not any(run * 41 in caught.value.message for run in "k7s")


def test_depth_of_another_body() -> None:
    """A caller whose wire form is deeper than the item it carries says so."""
    assert decode_object(deep(40), what="request", depth_max=40)
    with pytest.raises(Refused, match="40 levels"):
        decode_object(deep(41), what="request", depth_max=40)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 500_000,
        b"[]" * 500_000,
        b'{"a":[' + b"{}," * 300_000,
        b"\\" * 1_000_000,
        b'{"a":"' + b"\\\\" * 500_000,
        b'{"a":"' + b"\\ud83d\\ude00" * 80_000 + b'\\ud83d"}',
        b'{"a":"' + b"[" * 1_000_000,
        (b"[" * 32 + b"]" * 32) * 15_000,
    ],
    ids=lambda body: ascii(body[:12]),
)
def test_hostile_bodies_are_linear(body: bytes) -> None:
    """A megabyte made to be slow costs a fraction of a second; quadratic work costs minutes."""
    began = time.process_time()
    with pytest.raises(Refused):
        decode_object(body, what="entry")
    assert time.process_time() - began < 2


plain_values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), plain_values, max_size=5), st.booleans())
def test_what_others_write(value: dict[str, Any], ascii_only: bool) -> None:
    """Whatever the standard library writes comes back the same, escaped or not."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert value == decode_object(body, what="entry")


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u d8e0-1.+na', max_size=60).map(str.encode)
)
def test_any_bytes(body: bytes) -> None:
    """Whatever comes, the answer is an object or a refusal."""
    try:
        decoded = decode_object(body, what="entry")
    except Refused:
        return
    assert type(decoded) is dict
    json.dumps(decoded, ensure_ascii=False).encode()
