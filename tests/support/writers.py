"""Writers that hammer a server and know exactly what it has promised them.

Each `Writer` is a thread with ids of its own. It makes valid writes only, so every status is known
beforehand; any other is a failure. It ends when the connection breaks, or when it is told to.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from tests.support.http_client import JSON, MERGE_PATCH, Answer, Client, NoAnswer
from tests.support.ledger import Document, Ledger, State

if TYPE_CHECKING:
    from tests.support.server import Server

_IDS_EACH: Final = 60
_IDEMPOTENT_SHARE: Final = 0.25
_PAD_CHARS_MAX: Final = 900
_PAUSE_S: Final = 0.002  # several write side by side, and most of the time one is under way
_STATUS: Final = {"create": 201, "replace": 200, "merge": 200, "delete": 204}
_METHOD: Final = {"create": "PUT", "replace": "POST", "merge": "POST", "delete": "DELETE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A write as it was sent, so that it can be sent again."""

    verb: str
    entry_id: str
    body: State
    after: State
    key: str | None  # Idempotency-Key


class Writer:
    """One writer of one table; `ledger` is valid while no thread runs."""

    def __init__(self, name: str, *, table: str, seed: int, deferred: bool = False) -> None:
        """Prepare.

        Args:
            name: begins every id of its entries.
            table: of tenant `default`.
            seed: of the choice of writes.
            deferred: ask for respond-async, and take 202 for the acknowledgement.
        """
        self.name = name
        self.table = table
        self.ledger = Ledger()
        self.unanswered: Sent | None = None
        self.accepted: dict[str, int] = {}  # status that each accepted request must end with
        self.failure: BaseException | None = None
        self._deferred = deferred
        self._random = Random(seed)
        self._count = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------- the thread

    def begin(self, server: Server) -> None:
        """Write from now on, in a thread."""
        self._stop.clear()
        client = server.client()
        self._thread = threading.Thread(target=self._run, args=(client,), name=self.name)
        self._thread.start()

    def end(self) -> None:
        """Wait until the writer has stopped. Raises: what it found wrong."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self, client: Client) -> None:
        with client:
            try:
                while not self._stop.wait(_PAUSE_S):
                    self._write_one(client)
            except NoAnswer:
                return
            except BaseException as error:  # noqa: BLE001 - the test's thread raises it
                self.failure = error

    def _write_one(self, client: Client) -> None:
        sent = self._choose()
        self.unanswered = sent
        try:
            answer = self.send(client, sent)
        except NoAnswer:
            self.ledger.doubt(sent.entry_id, sent.after)
            raise
        expected = 202 if self._deferred else _STATUS[sent.verb]
        assert answer.status == expected, (sent, answer.status, answer.body)
        self.unanswered = None
        self.ledger.acknowledge(sent.entry_id, sent.after)
        if self._deferred:
            self.accepted[answer.json()["requestId"]] = _STATUS[sent.verb]

    def _choose(self) -> Sent:
        random = self._random
        self._count += 1
        entry_id = f"{self.name}-{random.randrange(_IDS_EACH)}"
        before = self.ledger.now(entry_id)
        verb = "create" if before is None else random.choice(("replace", "merge", "delete"))
        pad = "x" * random.randrange(_PAD_CHARS_MAX)
        mark = f"{self.name}:{self._count}"
        body: State = {"mark": mark, "pad": pad, "count": self._count, "nested": {"deep": [mark]}}
        after = body
        if verb == "merge":
            body = {"mark": mark, f"extra{self._count % 3}": mark, "pad": None}
            after = {k: v for k, v in ((before or {}) | body).items() if v is not None}
        elif verb == "delete":
            body = after = None
        has_key = not self._deferred and random.random() < _IDEMPOTENT_SHARE
        key = f"key-{mark}" if has_key else None
        return Sent(verb=verb, entry_id=entry_id, body=body, after=after, key=key)

    # ---------------------------------------------------------------------- after the restart

    def send(self, client: Client, sent: Sent) -> Answer:
        """Send a write, possibly again. Raises: NoAnswer."""
        headers: dict[str, str] = {}
        if sent.key is not None:
            headers["Idempotency-Key"] = sent.key
        if self._deferred:
            headers["Prefer"] = "respond-async"
        return client.request(
            _METHOD[sent.verb],
            self.path(sent.entry_id),
            sent.body,
            content_type=MERGE_PATCH if sent.verb == "merge" else JSON,
            headers=headers,
        )

    def retry(self, client: Client) -> None:
        """Send the write that got no answer again if it has a key: it must succeed, and once."""
        sent, self.unanswered = self.unanswered, None
        if sent is None or sent.key is None:
            return
        answers = [self.send(client, sent) for _ in range(2)]
        assert [a.status for a in answers] == [_STATUS[sent.verb]] * 2, (sent, answers)
        assert len({a.headers.get("etag") for a in answers}) == 1, (sent, answers)
        self.ledger.acknowledge(sent.entry_id, sent.after)

    def path(self, entry_id: str) -> str:
        """Spell an entry's path."""
        return f"/v1/tenant/default/table/{self.table}/id/{entry_id}"


def read_table(client: Client, table: str) -> dict[str, Document]:
    """List a whole table of tenant `default`."""
    found: dict[str, Document] = {}
    after = ""
    while True:
        answer = client.get(f"/v1/tenant/default/table/{table}/id?limit=1000{after}")
        assert answer.status == 200, answer.body
        page = answer.json()
        found |= {entry["id"]: entry["data"] for entry in page["entries"]}
        if page.get("after") is None:
            return found
        after = f"&after={page['after']}"
