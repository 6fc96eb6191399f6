"""What a stranger can do with signatures: nothing to others' keys, and nothing to be learnt."""

from __future__ import annotations

from pathlib import Path
from time import time_ns

import pytest

from dstore.security import sigv4
from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.security.sigv4 import EMPTY_BODY_SHA256, SignatureRefused, sign
from dstore.service import access
from dstore.service.access import SignedRequest
from dstore.service.node import Node
from tests.unit.service.nodes import a_node


def _request(key: AccessKey, *, region: str = "us-east-1") -> SignedRequest:
    headers = (("Host", "localhost"),)
    added = sign(
        method="GET",
        target="/v1/tenant",
        headers=headers,
        body_sha256=EMPTY_BODY_SHA256,
        access_key=key,
        region=region,
        service="dstore",
        now_us=time_ns() // 1_000,
    )
    return SignedRequest(
        method="GET",
        target="/v1/tenant",
        headers=[(name.encode(), value.encode()) for name, value in (*headers, *added)],
        body_sha256=EMPTY_BODY_SHA256,
    )


async def _a_key(node: Node) -> AccessKey:
    record, secret = await node.access.create_access_key("acme")
    return AccessKey(id=AccessKeyId(record.id), secret=secret)


async def test_strangers_keep_and_evict_no_signing_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a right signature is kept; the least recently used makes room, one at a time."""
    monkeypatch.setattr(access, "SIGNING_KEYS_CACHED_MAX", 3)
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        key = await _a_key(node)
        kept = node.access._signing_keys
        assert node.access.signature(_request(key)).tenant == "acme"
        assert len(kept) == 1
        wrong = AccessKey(id=key.id, secret="wrong-secret")
        unknown = AccessKey(id=AccessKeyId("DSAKAAAAAAAAAAAAAAAA"), secret="some-secret")
        for number in range(10):
            for stranger in (wrong, unknown):
                with pytest.raises(SignatureRefused):
                    node.access.signature(_request(stranger, region=f"r-{number}"))
        assert [scope.region for scope in kept] == ["us-east-1"]
        for region in ("b", "c", "us-east-1", "d"):
            node.access.signature(_request(key, region=region))
        assert [scope.region for scope in kept] == ["c", "us-east-1", "d"]


async def test_every_wrong_signature_costs_one_derivation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a refusal must not tell whether an access key exists, or was used today."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        used, unused = await _a_key(node), await _a_key(node)
        node.access.signature(_request(used))
        derivations = 0
        derive = sigv4.date_key

        def counted(secret: str, date: str) -> object:
            nonlocal derivations
            derivations += 1
            return derive(secret, date)

        monkeypatch.setattr(access, "date_key", counted)
        for key_id in (used.id, unused.id, "DSAKAAAAAAAAAAAAAAAA"):
            stranger = AccessKey(id=AccessKeyId(key_id), secret="wrong-secret")
            derivations = 0
            with pytest.raises(SignatureRefused):
                node.access.signature(_request(stranger))
            assert derivations == 1, key_id


async def test_a_deleted_key_signs_nothing_more(tmp_path: Path) -> None:
    """Revoking works at once, also where a derived key was kept."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant("acme")
        key, other = await _a_key(node), await _a_key(node)
        for one in (key, other):
            node.access.signature(_request(one))
        await node.access.delete_access_key("acme", key.id)
        with pytest.raises(SignatureRefused):
            node.access.signature(_request(key))
        node.access.signature(_request(other))
        assert {scope.access_key_id for scope in node.access._signing_keys} == {other.id}
