"""A write under an Idempotency-Key is done once and answered alike, however often it is sent."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.http_client import MERGE_PATCH, Answer, Client, NoAnswer
from tests.support.server import running
from tests.support.table_churn import path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

TABLE: Final = path("once")
KILLS: Final = 8


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """Give a server of the test's own, with a table."""
    with running(tmp_path) as server:
        with server.client() as client:
            assert client.put(TABLE, {"idType": "String"}).status == 201
        yield server


def _told(answer: Answer) -> tuple[int, str | None, bytes]:
    return answer.status, answer.headers.get("etag"), answer.body


def test_each_verb_is_done_once(own: Server) -> None:
    """The retry of an old write must not undo a newer one; before and after SIGKILL alike."""
    entry = f"{TABLE}/id/a"
    steps = (
        ("create", "PUT", {"n": 1}, "application/json", 201),
        ("replace", "POST", {"n": 2, "gone": True}, "application/json", 200),
        ("merge", "POST", {"gone": None, "more": 3}, MERGE_PATCH, 200),
        ("delete", "DELETE", None, "application/json", 204),
    )

    def send(client: Client, step: tuple[str, str, object, str, int]) -> Answer:
        key, method, body, content_type, _ = step
        return client.request(
            method, entry, body, content_type=content_type, headers={"Idempotency-Key": key}
        )

    with own.client() as client:
        first = {step[0]: _told(send(client, step)) for step in steps}
        assert [told[0] for told in first.values()] == [201, 200, 200, 204]
        assert client.put(entry, {"newer": True}).status == 201
    for round_number in range(3):
        with own.client() as client:
            for step in (*steps, *reversed(steps)):
                assert _told(send(client, step)) == first[step[0]], (round_number, step)
            assert client.get(entry).json() == {"newer": True}
        own.kill()
        own.start()


def test_same_key_with_other_content_is_another_request(own: Server) -> None:
    """A client that reuses its keys must not be told that a different write was done."""
    with own.client() as client:
        headers = {"Idempotency-Key": "reused"}
        assert client.put(f"{TABLE}/id/a", {"n": 1}, headers=headers).status == 201
        assert client.put(f"{TABLE}/id/b", {"n": 1}, headers=headers).status == 201
        assert client.put(f"{TABLE}/id/a", {"n": 2}, headers=headers).status == 409
        assert client.put(f"{TABLE}/id/a", {"n": 1}, headers=headers).status == 201
        assert client.get(f"{TABLE}/id/b").json() == {"n": 1}


def test_another_credential_with_the_same_key_is_another_request(own: Server) -> None:
    """Keys are made by clients, who do not know of each other's."""
    with own.client() as client, own.admin() as admin:
        token = admin.post("/admin/v1/tenant/default/token").json()["token"]
        headers = {"Idempotency-Key": "theirs"}
        assert client.put(f"{TABLE}/id/a", {}, headers=headers).status == 201
        with own.client(token=token) as other:
            assert other.put(f"{TABLE}/id/a", {}, headers=headers).status == 409


def test_refusal_is_not_remembered(own: Server) -> None:
    """A write that was refused was not done: the retry is judged by what is there then."""
    with own.client() as client:
        headers = {"Idempotency-Key": "early"}
        assert client.post(f"{TABLE}/id/a", {"n": 1}, headers=headers).status == 404
        assert client.put(f"{TABLE}/id/a", {}).status == 201
        assert client.post(f"{TABLE}/id/a", {"n": 1}, headers=headers).status == 200


def test_many_at_once_under_one_key(own: Server) -> None:
    """A client that repeats itself before it is answered creates one entry: every answer is 201."""
    answers: list[Answer] = []

    def put() -> None:
        with own.client() as client:
            headers = {"Idempotency-Key": "together"}
            answers.append(client.put(f"{TABLE}/id/a", {"n": 1}, headers=headers))

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert {answer.status for answer in answers} == {201}
    assert len({answer.headers["etag"] for answer in answers}) == 1


@pytest.mark.slow
def test_killed_between_sending_and_answer(own: Server) -> None:
    """After SIGKILL nobody knows whether the last create was done: its retry is 201 either way."""
    random = Random(7)  # the moments of the kills
    for kill in range(KILLS):
        sent = _send_until_killed(own, kill, after_s=random.uniform(0.05, 0.4))
        own.start()
        with own.client() as client:
            for number in range(max(0, sent - 5), sent + 1):
                again = [_create(client, kill, number) for _ in range(2)]
                assert [answer.status for answer in again] == [201, 201], (kill, number, again)
                assert _told(again[0]) == _told(again[1])
                found = client.get(f"{TABLE}/id/{kill}-{number}")
                assert found.headers["etag"] == again[0].headers["etag"]
            assert client.put(f"{TABLE}/id/{kill}-{sent}", {}).status == 409


def _create(client: Client, kill: int, number: int) -> Answer:
    headers = {"Idempotency-Key": f"{kill}-{number}"}
    return client.put(f"{TABLE}/id/{kill}-{number}", {"n": number}, headers=headers)


def _send_until_killed(server: Server, kill: int, *, after_s: float) -> int:
    """Create entries while the server is killed. Returns: the number of the one without answer."""
    killer = threading.Timer(after_s, server.kill)
    with server.client() as client:
        killer.start()
        number = 0
        try:
            while True:
                assert _create(client, kill, number).status == 201
                number += 1
        except NoAnswer:
            return number
        finally:
            killer.join()
