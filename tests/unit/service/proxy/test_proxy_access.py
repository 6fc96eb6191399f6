"""A proxy knows its clients by what control gave it, and by nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.security.credentials import AccessKey, new_access_key, new_token
from dstore.security.signing_keys import AccessKeyDays, day_of, derive_days
from dstore.security.sigv4 import SignatureProblem, SignatureRefused, sign
from dstore.service.access import SignedRequest
from dstore.service.calls.key_calls import BearerGiven
from dstore.service.enrolment.credential_reader import CredentialChange
from dstore.service.proxy.proxy_access import ProxyAccess

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
BODY = hashlib.sha256(b"{}").hexdigest()
ACME = "3f0b6c52-7d0a-4c57-9f0e-0d7f1c9f5a11"
SERVED: Any = SimpleNamespace(  # every tenant as it is named, and acme by its UUID
    is_another=lambda tenant, tenant_id: tenant == "acme" and tenant_id != ACME
)
NOTHING = CredentialChange(access_keys=(), bearers=(), revoked_access_keys=(), revoked_bearers=())


def days_of(key: AccessKey, tenant: str) -> AccessKeyDays:
    return derive_days(key.secret, access_key_id=key.id, tenant=tenant, now_us=CLOCK.wall_us())


def signed(key: AccessKey, *, region: str = "eu-west-1") -> SignedRequest:
    """Sign a request as a client does."""
    headers = [("Host", "proxy"), ("X-Amz-Target", "DynamoDB_20120810.ListTables")]
    made = sign(
        method="POST",
        target="/",
        headers=headers,
        body_sha256=BODY,
        access_key=key,
        region=region,
        service="dynamodb",
        now_us=CLOCK.wall_us(),
    )
    every = [*headers, *dict(made).items()]
    return SignedRequest(
        method="POST",
        target="/",
        headers=[(name.encode(), value.encode()) for name, value in every],
        body_sha256=BODY,
    )


def filled(*keys: AccessKeyDays, bearers: tuple[BearerGiven, ...] = ()) -> ProxyAccess:
    access = ProxyAccess(SERVED, clock=CLOCK, entropy=ENTROPY)
    access.replace(keys, bearers, through_day=day_of(CLOCK.wall_us()) + 3)
    return access


def test_nobody_is_known_before_control_was_heard() -> None:
    """A proxy that was given nothing yet says so; it does not call a client unknown."""
    access = ProxyAccess(SERVED, clock=CLOCK, entropy=ENTROPY)
    key = new_access_key(ENTROPY)
    for ask in (
        lambda: access.signature(signed(key)),
        lambda: access.check_known(signed(key)),
        lambda: access.bearer("Bearer dst_x"),
    ):
        with pytest.raises(Unavailable) as raised:
            ask()
        assert raised.value.kind is UnavailableKind.LOCKED
    assert not access.is_filled


def test_a_key_is_its_tenants() -> None:
    """Each key names its own tenant, in the region that was signed, however often it is used."""
    one, other = new_access_key(ENTROPY), new_access_key(ENTROPY)
    access = filled(days_of(one, "acme"), days_of(other, "umbrella"))
    for _ in range(2):
        for region in ("eu-west-1", "us-east-1"):
            principal = access.signature(signed(one, region=region))
            assert (principal.tenant, principal.credential) == ("acme", one.id)
            assert principal.region == region
        assert access.signature(signed(other)).tenant == "umbrella"
    moved = CredentialChange(
        access_keys=[days_of(one, "umbrella")],
        bearers=(),
        revoked_access_keys=(),
        revoked_bearers=(),
    )
    access.change(moved)
    assert access.signature(signed(one)).tenant == "umbrella"


def test_an_unknown_key_and_a_wrong_secret_look_alike() -> None:
    """Neither tells which keys there are; only what asks for it hears that a key is unknown."""
    key = new_access_key(ENTROPY)
    access = filled(days_of(key, "acme"))
    stranger = new_access_key(ENTROPY)
    texts = set()
    for wrong in (stranger, AccessKey(id=key.id, secret=stranger.secret)):
        with pytest.raises(SignatureRefused) as refused:
            access.signature(signed(wrong))
        texts.add(refused.value.message)
    assert len(texts) == 1
    access.check_known(signed(key))
    with pytest.raises(SignatureRefused) as unknown:
        access.check_known(signed(stranger))
    assert unknown.value.problem is SignatureProblem.UNKNOWN_KEY


def test_what_was_revoked_is_refused_at_once() -> None:
    """A revoked key or token is void with the change that says so; the others stay."""
    key, kept = new_access_key(ENTROPY), new_access_key(ENTROPY)
    (text, record), (kept_text, kept_record) = new_token(ENTROPY), new_token(ENTROPY)
    bearers = (
        BearerGiven(id=record.id, tenant="acme", digest=record.digest),
        BearerGiven(id=kept_record.id, tenant=None, digest=kept_record.digest),
    )
    access = filled(days_of(key, "acme"), days_of(kept, "acme"), bearers=bearers)
    access.change(NOTHING)
    assert access.signature(signed(key)).tenant == "acme"
    assert access.bearer(f"Bearer {text}").tenant == "acme"
    assert access.bearer(f"bearer {kept_text}").is_operator
    access.change(
        CredentialChange(
            access_keys=(),
            bearers=(),
            revoked_access_keys=(key.id,),
            revoked_bearers=(record.id,),
        )
    )
    with pytest.raises(SignatureRefused):
        access.signature(signed(key))
    with pytest.raises(Refused) as refused:
        access.bearer(f"Bearer {text}")
    assert refused.value.kind is RefusalKind.UNAUTHENTICATED
    assert access.signature(signed(kept)).tenant == "acme"
    assert access.bearer(f"Bearer {kept_text}").is_operator
    access.replace((), (), through_day=day_of(CLOCK.wall_us()) + 3)
    with pytest.raises(SignatureRefused):
        access.signature(signed(kept))


def test_keys_of_days_that_have_passed() -> None:
    """When control has been away too long there are no keys for today, and that is said."""
    key = new_access_key(ENTROPY)
    access = ProxyAccess(SERVED, clock=CLOCK, entropy=ENTROPY)
    access.replace((days_of(key, "acme"),), (), through_day=day_of(CLOCK.wall_us()) - 1)
    assert not access.serves()
    with pytest.raises(Unavailable):
        access.signature(signed(key))


def test_a_key_is_of_its_tenant_by_its_uuid() -> None:
    """The same name and another UUID: another tenant. A control that says no UUID is believed."""
    former, own, older = (new_access_key(ENTROPY) for _ in range(3))
    access = filled(
        replace(days_of(former, "acme"), tenant_id=ENTROPY.uuid()),
        replace(days_of(own, "acme"), tenant_id=ACME),
        days_of(older, "acme"),
    )
    for _ in range(2):
        assert access.signature(signed(own)).tenant_id == ACME
        assert access.signature(signed(older)).tenant == "acme"
        for ask in (access.signature, access.check_known):
            with pytest.raises(SignatureRefused) as refused:
                ask(signed(former))
            assert refused.value.problem is SignatureProblem.UNKNOWN_KEY
    change = replace(NOTHING, access_keys=[replace(days_of(own, "acme"), tenant_id=ENTROPY.uuid())])
    access.change(change)
    with pytest.raises(SignatureRefused):
        access.signature(signed(own))
