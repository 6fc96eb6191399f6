"""One bit or one field of a signed request changes: never accepted, and never another exception."""

from __future__ import annotations

import itertools
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from dstore.security.sigv4 import SignatureRefused, trimmed
from tests.unit.security.builders import Wire, boto_signed, check

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNED_HEADERS = {
    "X-Amz-Target": "DynamoDB_20120810.PutItem",
    "Content-Type": "application/x-amz-json-1.0",
    "If-Match": '"a  b"',
}
WIRES = {
    "header": boto_signed("POST", "/", headers=SIGNED_HEADERS, body=b'{"TableName":"t"}'),
    "header and query": boto_signed("PUT", "/v1/a%2Fb/c%20d?b=2&a=%2F&a=1", body=b"{}"),
    "declared body": boto_signed(
        "POST",
        "/",
        headers={**SIGNED_HEADERS, "X-Amz-Content-SHA256": sha256(b"{}").hexdigest()},
        body=b"{}",
    ),
    "presigned": boto_signed("GET", "/v1/a%2Fb?b=2&a=%2F", expires_s=60),
}


def flipped(data: bytes) -> Iterator[bytes]:
    """Flip each bit in turn."""
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def bit_mutants(wire: Wire) -> Iterator[Wire]:
    """Flip each bit of method, target, header names and values, and body."""
    for method in flipped(wire.method.encode()):
        yield replace(wire, method=method.decode("utf-8", "surrogateescape"))
    for target in flipped(wire.target.encode()):
        yield replace(wire, target=target.decode("utf-8", "surrogateescape"))
    for body in flipped(wire.body):
        yield replace(wire, body=body)
    for index, (name, value) in enumerate(wire.headers):
        before, after = wire.headers[:index], wire.headers[index + 1 :]
        for other in flipped(name):
            if other.lower() != name.lower():  # names are the same in any case
                yield wire.with_headers((*before, (other, value), *after))
        for other in flipped(value):
            assert trimmed(other) != trimmed(value)
            yield wire.with_headers((*before, (name, other), *after))


def field_mutants(wire: Wire) -> Iterator[Wire]:
    """Drop, repeat, empty, lengthen or exchange each field."""
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "", "post", "PUT\n"):
        if method != wire.method:
            yield replace(wire, method=method)
    for body in (b"", wire.body + b" ", wire.body + b"\0", wire.body[:-1], b"{}{}"):
        if body != wire.body:
            yield replace(wire, body=body)
    for index, (name, value) in enumerate(wire.headers):
        rest = (*wire.headers[:index], *wire.headers[index + 1 :])
        yield wire.with_headers(rest)
        yield wire.with_headers((*wire.headers, (name, value)))
        for other in (b"", value + b"x", b"x" + value, value[:-1], value.swapcase()):
            if other != value:
                yield wire.with_headers((*rest, (name, other)))
    for (one, first), (two, second) in itertools.combinations(wire.headers, 2):
        others = tuple(pair for pair in wire.headers if pair[0] not in (one, two))
        yield wire.with_headers((*others, (one, second), (two, first)))
    yield from target_mutants(wire)


def target_mutants(wire: Wire) -> Iterator[Wire]:
    """Change the path's segments and the query's pairs, also where decoding would hide it."""
    path, _, query = wire.target.partition("?")
    tail = f"?{query}" if query else ""
    for other in (f"{path}/", f"/{path}", f"{path}/.", f"{path}/..", f"/x/..{path}", f"/.{path}"):
        yield replace(wire, target=other + tail)
    for old, new in (("%2F", "/"), ("%2F", "%2f"), ("%20", "+"), ("%20", " "), ("/", "%2F")):
        if old in wire.target:
            yield replace(wire, target=wire.target.replace(old, new))
    yield replace(wire, target=wire.target + ("&x=1" if query else "?x=1"))
    yield replace(wire, target=wire.target + "&")
    pairs = query.split("&") if query else []
    for index, pair in enumerate(pairs):
        kept = [*pairs[:index], *pairs[index + 1 :]]
        name, _, value = pair.partition("=")
        for extra in ([], [f"{name}={value}x"], [f"{name}x={value}"], [pair, pair]):
            yield replace(wire, target=f"{path}?{'&'.join([*kept, *extra])}")


@pytest.mark.parametrize("name", WIRES)
def test_no_mutant_is_accepted(name: str) -> None:
    """What was signed is the whole request: 0 accepted mutants out of thousands."""
    wire = WIRES[name]
    check(wire)
    count = 0
    for mutant in itertools.chain(bit_mutants(wire), field_mutants(wire)):
        assert mutant != wire
        with pytest.raises(SignatureRefused):
            check(mutant)
        count += 1
    assert count >= 2300  # four requests: together beyond 10,000 mutants
