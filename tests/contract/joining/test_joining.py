"""Joining over real TLS: who is let in, who is not and hears why, and what a crash leaves."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    CERTIFICATE_LIFE_S,
    JOIN_BODY_BYTES_MAX,
    JOIN_REFUSALS_PER_MINUTE_MAX,
    JOINS_AT_ONCE_MAX,
)
from dstore.model.errors import RefusalKind, Refused, Unavailable, Unknown
from dstore.replication.peers import join_client
from dstore.replication.peers.errors import Unreachable
from dstore.security.certificates import CertificateAuthority
from dstore.security.identity import CertificateProblem, CertificateRefused, ComponentRole, Identity
from dstore.security.join_tokens import parse_join_token
from dstore.security.tls import joining_context
from dstore.service.calls.join_exchange import AUTHORITY_PATH, JOIN_PATH, JoinAnswered, JoinAsked
from dstore.service.control.membership import find
from dstore.service.enrolment import joining
from dstore.service.enrolment.joining import JOINING_FILE, join
from dstore.service.enrolment.membership import Membership
from dstore.service.enrolment.records import Enrolment, load_enrolments
from dstore.storage.control import audit, join_tokens
from dstore.storage.control.components import NODES, PROXIES
from dstore.storage.control.records import ComponentState, JoinTokenId
from tests.support.joining import (
    ENTROPY,
    OFFER,
    Control,
    SetClock,
    component_share,
    control,
    empty,
    forged,
    joined,
    member,
)
from tests.support.peers import Node as Answerer
from tests.support.peers import credentials_in, served

HOUR_US = 3_600 * US_PER_S


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path / "plane") as running:
        yield running


async def attempt(
    directory: Path,
    text: str,
    *,
    role: ComponentRole = ComponentRole.NODE,
    clock: SetClock | None = None,
) -> Enrolment:
    return await join(
        empty(directory), text, role=role, offer=OFFER, clock=clock or SetClock(), entropy=ENTROPY
    )


@pytest.mark.parametrize("role", [ComponentRole.NODE, ComponentRole.PROXY])
async def test_a_component_joins_and_is_given_its_key(
    at: Control, tmp_path: Path, role: ComponentRole
) -> None:
    """The whole way, from the token to the key that control holds for it alone."""
    enrolment = await attempt(tmp_path / "one", await at.token(role), role=role)
    assert enrolment.control_plane == at.plane.uuid
    assert enrolment.controls == (at.url,)
    assert load_enrolments(tmp_path / "one") == (enrolment,)
    async with at.plane.store.snapshot() as tx:
        known = await find(tx, enrolment.identity)
    assert known is not None
    assert known.state is ComponentState.JOINING
    async with member(enrolment) as membership:
        share = await component_share(membership)
        assert (share.control_plane, len(share.key)) == (at.plane.uuid, 32)
        assert share == await component_share(membership)
    async with at.plane.store.snapshot() as tx:
        active = await find(tx, enrolment.identity)
        log = await audit.page(tx)
    assert active is not None
    assert active.state is ComponentState.ACTIVE
    actions = [record.entry.action for record in log.records]
    assert actions == ["component.join", "join_token.create"]


async def test_what_is_on_the_disk_is_private_and_no_share_of_control(
    at: Control, tmp_path: Path
) -> None:
    """A stolen disk has the certificate's key and nothing of what control holds (I4)."""
    enrolment = await joined(tmp_path / "one", at)
    async with member(enrolment) as membership:
        share = await component_share(membership)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"enrolment.json", "peer.pem", "peer.ca"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        assert bytes(share.key) not in content
        assert share.key.hex().encode() not in content
    assert stat.S_IMODE(enrolment.directory.stat().st_mode) == 0o700


async def test_a_token_works_once(at: Control, tmp_path: Path) -> None:
    """Whoever finds a used token gets nothing for it."""
    text = await at.token()
    await attempt(tmp_path / "one", text)
    with pytest.raises(Refused, match="was used already") as refused:
        await attempt(tmp_path / "two", text)
    assert refused.value.kind is RefusalKind.UNAUTHENTICATED
    assert load_enrolments(tmp_path / "two") == ()


async def test_a_token_that_stays_in_the_settings_counts_once(at: Control, tmp_path: Path) -> None:
    """A restart with the same token file is no second join, even when control is gone."""
    text = await at.token()
    first = await attempt(tmp_path / "one", text)
    late = SetClock(2 * HOUR_US)
    assert await attempt(tmp_path / "one", text, clock=late) == first


async def test_an_expired_token_is_refused_by_controls_clock(at: Control, tmp_path: Path) -> None:
    """Control decides: a joiner's clock can't make a token live longer."""
    text = await at.token(life_s=60)
    at.clock.ahead_us = 61 * US_PER_S
    with pytest.raises(Refused, match="is expired"):
        await attempt(tmp_path / "one", text)


async def test_a_token_of_another_role_is_refused_on_both_sides(
    at: Control, tmp_path: Path
) -> None:
    """A proxy's token must not make a node, even of a joiner that passes over its own check."""
    text = await at.token(ComponentRole.PROXY)
    with pytest.raises(Refused, match="admits a proxy, not a node"):
        await attempt(tmp_path / "one", text)
    with pytest.raises(Refused, match="admits a proxy, not a node"):
        await attempt(tmp_path / "two", forged(text, role=ComponentRole.NODE))


@pytest.mark.parametrize("role", [ComponentRole.CONTROL, ComponentRole.REPORTING])
async def test_no_token_makes_a_control(at: Control, role: ComponentRole) -> None:
    """A certificate of a control is made with the authority's key only."""
    with pytest.raises(Refused, match="joins without a token"):
        await at.token(role)


@pytest.mark.parametrize(
    "changes",
    [{"secret": bytes(32)}, {"token_id": "aaaabbbbcccc"}],
    ids=["another secret", "another id"],
)
async def test_a_forged_token_is_refused_without_a_hint(
    at: Control, tmp_path: Path, changes: dict[str, object]
) -> None:
    """Unknown id and wrong secret look alike, and the token stays usable for its owner."""
    text = await at.token()
    with capture_logs() as logs, pytest.raises(Refused, match="is not known here"):
        await attempt(tmp_path / "one", forged(text, **changes))
    assert "join_refused" in [event["event"] for event in logs]
    await attempt(tmp_path / "two", text)


async def test_a_revoked_token_is_refused(at: Control, tmp_path: Path) -> None:
    """An operator can take a token back before it is used, and sees which there are."""
    text = await at.token()
    token_id = parse_join_token(text).token_id
    assert [token.id for token in (await at.admissions.tokens()).records] == [token_id]
    await at.admissions.revoke_token(token_id)
    with pytest.raises(Refused, match="is not known here"):
        await attempt(tmp_path / "one", text)
    with pytest.raises(Refused, match="no such join token"):
        await at.admissions.revoke_token(token_id)


async def test_a_wrong_fingerprint_stops_the_joiner_before_its_secret_leaves(
    at: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody in between, or another plane at the address: nothing is sent there."""
    sent: list[bytes] = []

    async def spy(*_args: object, **_named: object) -> bytes:
        sent.append(b"")
        return b""

    monkeypatch.setattr(joining, "post_proved", spy)
    with pytest.raises(CertificateRefused, match="is not the one that the token names") as refused:
        await attempt(tmp_path / "one", forged(await at.token(), fingerprint="0" * 64))
    assert refused.value.problem is CertificateProblem.FOREIGN
    assert sent == []


async def test_another_control_plane_admits_nobody_with_a_foreign_token(
    at: Control, tmp_path: Path
) -> None:
    """An address that leads to another plane is noticed by its authority."""
    async with control(tmp_path / "other") as other:
        text = forged(await at.token(), addresses=(other.address,))
        with pytest.raises(CertificateRefused, match="is not the one that the token names"):
            await attempt(tmp_path / "one", text)


async def test_a_node_that_plays_control_gets_no_secret(at: Control, tmp_path: Path) -> None:
    """The same authority is not the same role: a joiner speaks with controls only."""
    identity = Identity(control_plane=at.plane.uuid, role=ComponentRole.NODE, uuid=ENTROPY.uuid())
    authority: CertificateAuthority = at.plane.authority
    tls = credentials_in(
        tmp_path / "thief", identity, authority=authority, trusted=authority.certificate_pem
    )
    async with served(Answerer().methods, tls.joining_server, here=identity) as thief:
        with pytest.raises(CertificateRefused, match="A node may not do this"):
            await join_client.post_proved(
                thief.url + JOIN_PATH,
                b"secret",
                authorities_pem=authority.certificate_pem,
                control_plane=at.plane.uuid,
            )


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_off_by_an_hour_is_said(
    at: Control, tmp_path: Path, hours: int
) -> None:
    """Both machines' clocks are named; a certificate that has not begun would tell nobody."""
    clock = SetClock(hours * HOUR_US)
    how = "behind" if hours < 0 else "ahead of"
    with pytest.raises(CertificateRefused, match=f"clock is 3[56][0-9][0-9] s {how}") as refused:
        await attempt(tmp_path / "one", await at.token(), clock=clock)
    assert refused.value.problem is CertificateProblem.CLOCK


async def test_control_too_refuses_a_clock_that_is_off(at: Control, tmp_path: Path) -> None:
    """A joiner that does not look is told so by control, and its token is not used up."""
    token = parse_join_token(await at.token())
    request = await asyncio.to_thread(joining._pending, tmp_path / "a" / "b", ENTROPY)
    asked = JoinAsked(
        token_id=token.token_id,
        secret=token.secret,
        role=token.role,
        request_pem=request.request_pem.decode(),
        uri=OFFER.uri,
        wall_us=at.clock.wall_us() - HOUR_US,
    )
    with pytest.raises(CertificateRefused, match="behind"):
        await at.admissions.join(asked)
    async with at.plane.store.snapshot() as tx:
        record = await join_tokens.get(tx, JoinTokenId(token.token_id))
    assert record is not None
    assert record.used_at_us is None


async def test_a_crash_between_request_and_answer_is_made_good(
    at: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is used and the answer lost: the same key asks again and is the same component."""
    text = await at.token()

    def crash(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(joining, "_keep", crash)
        with pytest.raises(OSError, match="No space"):
            await attempt(tmp_path / "one", text)
    assert load_enrolments(tmp_path / "one") == ()
    enrolment = await attempt(tmp_path / "one", text)
    async with at.plane.store.snapshot() as tx:
        nodes = await NODES.page(tx)
    assert [node.uuid for node in nodes.records] == [enrolment.component]
    assert not (enrolment.directory / JOINING_FILE).exists()
    async with member(enrolment) as membership:
        await component_share(membership)


async def test_an_answer_that_got_lost_on_the_way_is_asked_for_again(
    at: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown outcome is no failure: the second address answers the same key."""
    text = await at.token()
    twice = forged(text, addresses=(at.address, at.address))
    really = at.admissions.join
    lost: list[JoinAnswered] = []

    async def lose_first(asked: JoinAsked) -> object:
        answered = await really(asked)
        if not lost:
            lost.append(answered)
            raise Unknown("The answer is lost.")
        return answered

    monkeypatch.setattr(at.admissions, "join", lose_first)
    enrolment = await attempt(tmp_path / "one", twice)
    assert enrolment.component == lost[0].component


async def test_a_component_comes_back_after_its_certificate_has_ended(
    at: Control, tmp_path: Path
) -> None:
    """Off for longer than a certificate lives: another token, and it stays who it was."""
    enrolment = await joined(tmp_path / "one", at)
    late = SetClock(2 * CERTIFICATE_LIFE_S * US_PER_S)
    with pytest.raises(CertificateRefused, match="join again"):
        await Membership.open(enrolment, clock=late, entropy=ENTROPY)
    at.clock.ahead_us = late.ahead_us
    # TLS itself goes by the machine's clock, which no test sets: it is seen to here by the former.
    back = await attempt(tmp_path / "one", await at.token(), clock=late)
    assert back.identity == enrolment.identity


async def test_nobody_comes_back_with_a_certificate_of_somebody_else(
    at: Control, tmp_path: Path
) -> None:
    """A former certificate counts with its own key only: certificates are no secret."""
    one = await joined(tmp_path / "one", at)
    token = parse_join_token(await at.token())
    pair = await asyncio.to_thread(joining._pending, tmp_path / "a" / "b", ENTROPY)
    pem = (one.directory / "peer.pem").read_text()
    asked = JoinAsked(
        token_id=token.token_id,
        secret=token.secret,
        role=token.role,
        request_pem=pair.request_pem.decode(),
        uri=OFFER.uri,
        wall_us=at.clock.wall_us(),
        former_pem=pem[pem.index("-----BEGIN CERTIFICATE") :],
    )
    with pytest.raises(Refused, match="not over the former one's key"):
        await at.admissions.join(asked)


async def test_a_component_that_was_removed_does_not_come_back(at: Control, tmp_path: Path) -> None:
    """Removal is final, also for a token that was used before it."""
    text = await at.token()
    enrolment = await attempt(tmp_path / "one", text)
    await _remove(at, enrolment)
    (enrolment.directory / "enrolment.json").unlink()
    (enrolment.directory / "peer.pem").rename(enrolment.directory / JOINING_FILE)
    key = (enrolment.directory / JOINING_FILE).read_text()
    (enrolment.directory / JOINING_FILE).write_text(key[: key.index("-----BEGIN CERT")])
    with pytest.raises(Refused, match="was removed"):
        await attempt(tmp_path / "one", text)


async def test_the_joining_listener_answers_nothing_else_without_a_certificate(
    at: Control,
) -> None:
    """Two routes and no more; garbage is refused with a sentence and counted against its sender."""
    connector = aiohttp.TCPConnector(ssl=joining_context(None))
    async with aiohttp.ClientSession(connector=connector) as session:
        shown = await session.get(at.url + AUTHORITY_PATH)
        assert (shown.status, "authorityPem" in await shown.text()) == (200, True)
        missing = await session.get(at.url + "/admin/v1/nodes")
        assert missing.status == 404
        socket = await session.ws_connect(at.url + "/peer/v1")
        await socket.receive()
        closed = await socket.receive()
        assert "certificate" in str(closed.extra)
        large = await session.post(at.url + JOIN_PATH, data=bytes(JOIN_BODY_BYTES_MAX + 1))
        assert large.status == 413
        secret = '{"secret": "canary-1"'
        garbled = await session.post(at.url + JOIN_PATH, data=secret)
        assert (garbled.status, "canary" in await garbled.text()) == (400, False)
        for _ in range(JOIN_REFUSALS_PER_MINUTE_MAX):
            last = await session.post(at.url + JOIN_PATH, data="{}")
            if last.status != 400:
                break
        refused = await session.post(at.url + JOIN_PATH, data="{}")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "60")


async def test_those_that_send_slowly_keep_nobody_from_joining(at: Control, tmp_path: Path) -> None:
    """Who has no certificate may hold connections, and no place where tokens are looked at."""
    connections: list[asyncio.StreamWriter] = []
    try:
        for _ in range(JOINS_AT_ONCE_MAX):
            _, writer = await asyncio.open_connection(
                *at.address.split(":"), ssl=joining_context(None)
            )
            connections.append(writer)
            head = f"POST {JOIN_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{"
            writer.write(head.encode())
            await writer.drain()
        await asyncio.sleep(0.3)
        assert (await joined(tmp_path / "n", at)).role is ComponentRole.NODE
    finally:
        for writer in connections:
            writer.close()


async def test_a_control_that_is_not_there_is_said(at: Control, tmp_path: Path) -> None:
    """The joiner goes on to the next address, and says of the last why."""
    text = await at.token()
    nowhere = forged(text, addresses=("127.0.0.1:1",))
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await attempt(tmp_path / "one", nowhere)
    both = forged(text, addresses=("127.0.0.1:1", at.address))
    await attempt(tmp_path / "one", both)


async def test_no_secret_is_in_the_log_or_in_a_repr(
    at: Control, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens and keys are canaries: nothing that is written anywhere shows them."""
    caplog.set_level(logging.DEBUG)
    text = await at.token()
    token = parse_join_token(text)
    with capture_logs() as logs:
        enrolment = await attempt(tmp_path / "one", text)
        async with member(enrolment) as membership:
            share = await component_share(membership)
        with pytest.raises(Refused) as refused:
            await attempt(tmp_path / "two", text)
    asked = JoinAsked(
        token_id=token.token_id,
        secret=token.secret,
        role=token.role,
        request_pem="x",
        uri=OFFER.uri,
        wall_us=0,
    )
    made = await at.admissions.create_token(ComponentRole.NODE, addresses=[at.address])
    written = repr((logs, caplog.text, refused.value.message, asked, made, enrolment, share))
    for secret in (text, token.text()[20:60], repr(token.secret)[2:-1], made.text, share.key.hex()):
        assert secret not in written
    assert repr(share.key) not in written


async def test_two_components_join_at_once(at: Control, tmp_path: Path) -> None:
    """Two that race for one token: one is in, the other hears that it was used."""
    text = await at.token(ComponentRole.PROXY)
    outcomes = await asyncio.gather(
        attempt(tmp_path / "one", text, role=ComponentRole.PROXY),
        attempt(tmp_path / "two", text, role=ComponentRole.PROXY),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert len(refused) == 1
    assert "was used already" in refused[0].message
    async with at.plane.store.snapshot() as tx:
        proxies = await PROXIES.page(tx)
    assert len(proxies.records) == 1


async def test_a_store_that_is_away_is_no_refusal(
    at: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes is told as such, so that a component tries again rather than gives up."""
    text = await at.token()

    async def away(_asked: JoinAsked) -> object:
        raise Unreachable("The database is away.")

    with monkeypatch.context() as patched:
        patched.setattr(at.admissions, "join", away)
        with pytest.raises(Unavailable, match="The database is away"):
            await attempt(tmp_path / "one", text)
    await attempt(tmp_path / "one", text)


async def _remove(at: Control, enrolment: Enrolment) -> None:
    async with at.plane.store.transaction() as tx:
        await NODES.set_state(
            tx, enrolment.component, ComponentState.REMOVED, now_us=at.clock.wall_us()
        )
