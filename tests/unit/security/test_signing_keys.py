"""Signatures verified from the keys of single days, with botocore as the signer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from dstore.base.limits import SIGNING_DAYS_AHEAD, SIGNING_DAYS_BEFORE
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.security import signing_keys
from dstore.security.signing_keys import (
    AccessKeyDays,
    SigningKeys,
    day_of,
    day_text,
    derive_days,
)
from dstore.security.sigv4 import SignatureProblem, SignatureRefused, date_key
from dstore.security.sigv4_request import read_claim
from tests.unit.security.builders import KEY, NOW_US, SERVICES, SeededEntropy, Wire, boto_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.security.sigv4_request import Claim

DAY_US = 24 * 3_600 * 1_000_000
TODAY = day_of(NOW_US)
GIVEN = derive_days(KEY.secret, access_key_id=KEY.id, tenant="acme", now_us=NOW_US)


def claim_of(wire: Wire) -> Claim:
    return read_claim(wire.method, wire.target, wire.headers, services=SERVICES)


def holding(*given: AccessKeyDays) -> SigningKeys:
    keys = SigningKeys(SeededEntropy(16))
    keys.replace(given, through_day=TODAY + SIGNING_DAYS_AHEAD)
    return keys


def ask(keys: SigningKeys, wire: Wire, *, now_us: int = NOW_US) -> AccessKeyDays:
    digest = hashlib.sha256(wire.body).hexdigest()
    return keys.authenticate(claim_of(wire), body_sha256=digest, now_us=now_us)


def refusal(keys: SigningKeys, wire: Wire, *, now_us: int = NOW_US) -> SignatureProblem:
    with pytest.raises(SignatureRefused) as caught:
        ask(keys, wire, now_us=now_us)
    return caught.value.problem


POST = boto_signed("POST", "/", body=b"{}")


def test_a_signature_is_verified_without_the_secret() -> None:
    """The first request derives, the second finds; both learn whose key it was."""
    keys = holding(GIVEN)
    assert ask(keys, POST) is GIVEN
    assert ask(keys, POST) is GIVEN
    assert GIVEN.tenant == "acme"


def test_region_and_service_are_the_clients_choice() -> None:
    """They follow from the day's key, whatever they are."""
    keys = holding(GIVEN)
    for service in ("dynamodb", "dstore"):
        assert ask(keys, boto_signed("GET", "/v1/tenant", service=service)) is GIVEN
    assert len(keys._ready) == 2


def test_what_is_given_is_the_days_and_not_the_secret() -> None:
    """Each key is AWS's kDate of its day, and no other day's."""
    assert GIVEN.first_day == TODAY - SIGNING_DAYS_BEFORE
    assert GIVEN.last_day == TODAY + SIGNING_DAYS_AHEAD
    for day in range(GIVEN.first_day, GIVEN.last_day + 1):
        assert GIVEN.key_of(day) == date_key(KEY.secret, day_text(day))
    assert GIVEN.key_of(GIVEN.first_day - 1) is None
    assert GIVEN.key_of(GIVEN.last_day + 1) is None
    assert KEY.secret.encode() not in GIVEN.keys
    assert KEY.secret not in repr(GIVEN)
    assert repr(GIVEN.keys) not in repr(GIVEN)


@pytest.mark.parametrize(
    ("day", "text"), [(0, "19700101"), (59, "19700301"), (16_677, "20150830"), (19_782, "20240229")]
)
def test_days_are_spelled_as_scopes_are(day: int, text: str) -> None:
    """A leap day, a month's end and the epoch."""
    assert day_text(day) == text


def test_unknown_keys_and_wrong_signatures_are_refused() -> None:
    """The surface decides whether it tells the two apart."""
    assert refusal(holding(), POST) is SignatureProblem.UNKNOWN_KEY
    other = derive_days("another secret", access_key_id=KEY.id, tenant="acme", now_us=NOW_US)
    assert refusal(holding(other), POST) is SignatureProblem.MISMATCH
    keys = holding(GIVEN)
    ask(keys, POST)
    changed = Wire(method="POST", target="/", headers=POST.headers, body=b"{} ")
    assert refusal(keys, changed) is SignatureProblem.MISMATCH


def test_every_refusal_derives_once() -> None:
    """Time says nothing of which access keys exist, or are in use."""
    keys = holding(GIVEN)
    ask(keys, POST)
    derivations = 0
    derived = keys._derived

    def counted(*args: object) -> object:
        nonlocal derivations
        derivations += 1
        return derived(*args)  # type: ignore[arg-type] # passed on as they came

    keys._derived = counted  # type: ignore[method-assign, assignment] # counts and does the same
    changed = Wire(method="POST", target="/", headers=POST.headers, body=b"{} ")
    assert refusal(keys, changed) is SignatureProblem.MISMATCH
    assert derivations == 1
    keys.revoke({KEY.id})
    assert refusal(keys, POST) is SignatureProblem.UNKNOWN_KEY
    assert derivations == 2


def _by_id(keys: SigningKeys) -> None:
    keys.revoke({KEY.id})


def _by_tenant(keys: SigningKeys) -> None:
    keys.revoke_tenant("acme")


def _by_absence(keys: SigningKeys) -> None:
    keys.replace((), through_day=TODAY + 1)


@pytest.mark.parametrize("revoke", [_by_id, _by_tenant, _by_absence])
def test_a_revoked_key_signs_nothing_from_then_on(revoke: Callable[[SigningKeys], None]) -> None:
    """What was kept goes with it; by id, by tenant, and by what control no longer gives."""
    keys = holding(GIVEN)
    ask(keys, POST)
    revoke(keys)
    assert refusal(keys, POST) is SignatureProblem.UNKNOWN_KEY
    assert keys.find(KEY.id) is None


def test_another_tenants_keys_stay() -> None:
    """Deleting a tenant touches nobody else."""
    keys = holding(GIVEN)
    keys.revoke_tenant("another")
    assert keys.find(KEY.id) is not None
    assert len(keys) == 1


def test_a_changed_secret_or_owner_replaces_what_was_kept() -> None:
    """An id that is deleted and imported again, for another tenant too, is another key."""
    keys = holding(GIVEN)
    ask(keys, POST)
    keys.put(derive_days(KEY.secret, access_key_id=KEY.id, tenant="other", now_us=NOW_US))
    assert ask(keys, POST).tenant == "other"
    keys.put(derive_days("changed secret", access_key_id=KEY.id, tenant="other", now_us=NOW_US))
    assert refusal(keys, POST) is SignatureProblem.MISMATCH


def test_the_next_days_keys_keep_what_is_still_right() -> None:
    """A daily refresh derives nothing anew for scopes in use."""
    keys = holding(GIVEN)
    ask(keys, POST)
    (kept,) = keys._ready.values()
    tomorrow = derive_days(KEY.secret, access_key_id=KEY.id, tenant="acme", now_us=NOW_US + DAY_US)
    keys.replace([tomorrow], through_day=tomorrow.last_day)
    ask(keys, POST)
    assert list(keys._ready.values()) == [kept]


def test_control_may_be_away_for_three_days() -> None:
    """The days ahead verify; after them the answer is to wait, not that the client is wrong."""
    keys = holding(GIVEN)
    for away in range(SIGNING_DAYS_AHEAD + 1):
        assert keys.serves(NOW_US + away * DAY_US)
    assert not keys.serves(NOW_US + (SIGNING_DAYS_AHEAD + 1) * DAY_US)
    assert not SigningKeys(SeededEntropy(1)).serves(NOW_US)
    stale = SigningKeys(SeededEntropy(1))
    stale.replace([GIVEN], through_day=TODAY - 1)
    with pytest.raises(Unavailable) as caught:
        ask(stale, POST)
    assert caught.value.kind is UnavailableKind.LOCKED
    with pytest.raises(Unavailable):
        ask(SigningKeys(SeededEntropy(1)), POST)


def test_a_signature_in_the_query_lives_its_seven_days() -> None:
    """As it does on a stand-alone node, which has the secret."""
    week_s = 7 * 24 * 3_600
    wire = boto_signed("GET", "/v1/tenant", expires_s=week_s)
    later_us = NOW_US + week_s * 1_000_000
    refreshed = derive_days(KEY.secret, access_key_id=KEY.id, tenant="acme", now_us=later_us)
    keys = SigningKeys(SeededEntropy(1))
    keys.replace([refreshed], through_day=refreshed.last_day)
    assert ask(keys, wire, now_us=later_us) is refreshed
    assert refusal(keys, wire, now_us=later_us + 1) is SignatureProblem.SKEW


@pytest.mark.parametrize("days", [-2, 8, 400])
def test_days_out_of_time_are_refused_whoever_signed(days: int) -> None:
    """A clock that is far off is told so, whether the access key exists or not."""
    now_us = NOW_US + days * DAY_US
    for keys in (holding(GIVEN), holding()):
        assert refusal(keys, POST, now_us=now_us) is SignatureProblem.SKEW


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that names a new region each time takes no more memory; the oldest use goes."""
    monkeypatch.setattr(signing_keys, "SIGNING_KEYS_KEPT_MAX", 2)
    keys = holding(GIVEN)
    for service in ("dynamodb", "dstore", "dynamodb", "iam"):
        ask(keys, boto_signed("POST", "/", service=service))
    assert [scope.service for scope in keys._ready] == ["dynamodb", "iam"]
