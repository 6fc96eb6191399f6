"""Who a component is, and what its certificate's time and its clock must show."""

import pytest

from dstore.base.limits import CLOCK_SKEW_S_MAX
from dstore.security.identity import (
    Certificate,
    CertificateProblem,
    CertificateRefused,
    ComponentRole,
    Identity,
    needs_renewal,
    require_clocks_agree,
    require_identity,
    require_valid,
)
from tests.unit.security.builders import NOW_US, SeededEntropy

ENTROPY = SeededEntropy(12)
PLANE, OTHER_PLANE, NODE = (ENTROPY.uuid() for _ in range(3))
HOUR_US = 3_600_000_000
IDENTITY = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=NODE)
CERTIFICATE = Certificate(
    identity=IDENTITY, serial="1f", not_before_us=NOW_US, not_after_us=NOW_US + 9 * HOUR_US
)


@pytest.mark.parametrize("role", list(ComponentRole))
def test_an_identity_reads_back(role: ComponentRole) -> None:
    """What is written into a certificate is what is read from it."""
    identity = Identity(control_plane=PLANE, role=role, uuid=NODE)
    assert Identity.parse(identity.uri) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        f"dstore://{PLANE}/node",
        f"dstore://{PLANE}/superuser/{NODE}",
        f"DSTORE://{PLANE}/node/{NODE}",
        f"dstore://{PLANE}/node/{NODE}\n",
        f"dstore://{PLANE}:1/node/{NODE}",
        f"dstore://user@{PLANE}/node/{NODE}",
        f"dstore://{PLANE}/node/{NODE}?role=control",
        f"dstore://{PLANE}/node/../{NODE}",
    ],
)
def test_other_spellings_are_nobody(uri: str) -> None:
    """One identity has one spelling."""
    with pytest.raises(CertificateRefused):
        Identity.parse(uri)


def test_renewal_is_due_at_two_thirds_of_life() -> None:
    """Early enough that control may be away for a third of it."""
    assert not needs_renewal(CERTIFICATE, now_us=NOW_US)
    assert not needs_renewal(CERTIFICATE, now_us=NOW_US + 6 * HOUR_US - 1)
    assert needs_renewal(CERTIFICATE, now_us=NOW_US + 6 * HOUR_US)
    assert needs_renewal(CERTIFICATE, now_us=NOW_US - 1)


@pytest.mark.parametrize(
    ("now_us", "problem", "said"),
    [
        (NOW_US + 10 * HOUR_US, CertificateProblem.EXPIRED, "ended 3600 s ago"),
        (NOW_US - HOUR_US, CertificateProblem.NOT_YET_VALID, "begins in 3600 s"),
    ],
)
def test_a_clock_off_by_an_hour_is_named(
    now_us: int, problem: CertificateProblem, said: str
) -> None:
    """The error says by how much, and what to do."""
    with pytest.raises(CertificateRefused, match=said) as caught:
        require_valid(CERTIFICATE, now_us=now_us)
    assert caught.value.problem is problem


@pytest.mark.parametrize("now_us", [NOW_US, NOW_US + 9 * HOUR_US])
def test_both_ends_of_a_life_are_inside(now_us: int) -> None:
    """As RFC 5280 counts them, and as TLS does."""
    require_valid(CERTIFICATE, now_us=now_us)


def test_two_clocks_may_differ_a_little() -> None:
    """Up to the bound in both directions, and not a second more."""
    skew_us = CLOCK_SKEW_S_MAX * 1_000_000
    for ahead_us in (0, skew_us, -skew_us):
        require_clocks_agree(here_us=NOW_US + ahead_us, there_us=NOW_US)
    with pytest.raises(CertificateRefused, match="3600 s ahead") as caught:
        require_clocks_agree(here_us=NOW_US + HOUR_US, there_us=NOW_US)
    assert caught.value.problem is CertificateProblem.CLOCK
    with pytest.raises(CertificateRefused, match="301 s behind"):
        require_clocks_agree(here_us=NOW_US - skew_us - 1_000_000, there_us=NOW_US)


def test_plane_and_role_are_both_required() -> None:
    """The same authority is not the same role (CVE-2020-7956)."""
    nodes = frozenset({ComponentRole.NODE})
    require_identity(IDENTITY, control_plane=PLANE, roles=nodes)
    with pytest.raises(CertificateRefused) as foreign:
        require_identity(IDENTITY, control_plane=OTHER_PLANE, roles=nodes)
    assert foreign.value.problem is CertificateProblem.FOREIGN
    with pytest.raises(CertificateRefused, match="A node may not do this") as wrong:
        require_identity(IDENTITY, control_plane=PLANE, roles=frozenset({ComponentRole.CONTROL}))
    assert wrong.value.problem is CertificateProblem.WRONG_ROLE
