"""Random histories of entries through HTTP, held against a plain dict.

Hypothesis draws the operations, their conditions and their order, and shrinks what fails to the
shortest history. The reference model is this file: a dict of ID → (object, ETag).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.api.contract import CheckedClient, entry

if TYPE_CHECKING:
    from tests.support.http_client import Answer
    from tests.support.server import Server

_numbers = count(1)
NO_VERSION = '"0"'

ids = st.sampled_from(["a", "b", "a/b", "é", ".", "\0", "x" * 2048])
leaves = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=5)
names = st.sampled_from(["a", "b", "é", "a.b", " "])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(names, values, max_size=4)
# What a condition names: the version that is there, one that was, none that ever was, or any.
wanted = st.sampled_from(["", "current", "former", "none", "any", "current and none"])


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class Entries(RuleBasedStateMachine):
    """A table, and a dict that says what must be in it."""

    client: ClassVar[CheckedClient]
    tenant: ClassVar[str]
    aftermath = Bundle("aftermath")

    @initialize()
    def make_table(self) -> None:
        """Begin with an empty table and an empty dict."""
        self.table = f"{self.tenant}/table/model-{next(_numbers)}"
        self.stored: dict[str, tuple[dict[str, Any], str]] = {}
        self.former: dict[str, str] = {}
        self.keyed: dict[str, tuple[int, str]] = {}
        assert self.client.put(self.table, {"idType": "String"}).status == 201

    def teardown(self) -> None:
        """Let nothing pile up in the server."""
        self.client.delete(self.table)

    @rule(name=ids, body=objects, match=wanted, none_match=wanted)
    def create(self, name: str, body: dict[str, Any], match: str, none_match: str) -> None:
        """PUT: only where there is nothing."""
        headers = self._conditions(name, match, none_match)
        answer = self.client.put(entry(self.table, name), body, headers=headers)
        if name in self.stored:
            assert answer.status == (412 if none_match == "any" else 409)
        elif match:
            assert answer.status == 412
        else:
            assert answer.status == 201
            self._store(name, body, answer)

    @rule(name=ids, body=objects, match=wanted, none_match=wanted)
    def replace(self, name: str, body: dict[str, Any], match: str, none_match: str) -> None:
        """POST: only where there is something."""
        headers = self._conditions(name, match, none_match)
        answer = self.client.post(entry(self.table, name), body, headers=headers)
        if self._may_write(name, match, none_match, answer):
            assert answer.status == 200
            self._store(name, body, answer)

    @rule(name=ids, patch=objects, match=wanted, none_match=wanted)
    def merge(self, name: str, patch: dict[str, Any], match: str, none_match: str) -> None:
        """POST a merge patch: what the RFC's own algorithm makes of it."""
        headers = self._conditions(name, match, none_match)
        answer = self.client.merge(entry(self.table, name), patch, headers=headers)
        if self._may_write(name, match, none_match, answer):
            assert answer.status == 200
            self._store(name, merged(self.stored[name][0], patch), answer)

    @rule(name=ids, match=wanted, none_match=wanted)
    def delete(self, name: str, match: str, none_match: str) -> None:
        """DELETE: only where there is something."""
        headers = self._conditions(name, match, none_match)
        answer = self.client.delete(entry(self.table, name), headers=headers)
        if self._may_write(name, match, none_match, answer):
            assert answer.status == 204
            self.former[name] = self.stored.pop(name)[1]

    @rule(name=ids, match=wanted, none_match=wanted)
    def read(self, name: str, match: str, none_match: str) -> None:
        """GET: the object, 304 or 412."""
        headers = self._conditions(name, match, none_match)
        answer = self.client.get(entry(self.table, name), headers=headers)
        if name not in self.stored:
            assert answer.status == 404
        elif match and not self._holds(name, match):
            assert answer.status == 412
        elif none_match and self._holds(name, none_match):
            assert answer.status == 304
        else:
            body, tag = self.stored[name]
            assert (answer.status, answer.json(), answer.headers["etag"]) == (200, body, tag)

    @rule(target=aftermath, name=ids, body=objects)
    def create_with_a_key(self, name: str, body: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
        """PUT with an Idempotency-Key."""
        key = f"key-{next(_numbers)}"
        headers = {"Idempotency-Key": key}
        answer = self.client.put(entry(self.table, name), body, headers=headers)
        assert answer.status == (409 if name in self.stored else 201)
        if answer.status == 201:
            self._store(name, body, answer)
            self.keyed[key] = (201, answer.headers["etag"])
        return name, body, key

    @rule(former=consumes(aftermath))
    def retry(self, former: tuple[str, dict[str, Any], str]) -> None:
        """The same PUT again: what was done is answered again, what was refused is tried anew."""
        name, body, key = former
        answer = self.client.put(entry(self.table, name), body, headers={"Idempotency-Key": key})
        if key in self.keyed:
            assert (answer.status, answer.headers["etag"]) == self.keyed[key]
        elif name in self.stored:
            assert answer.status == 409
        else:
            assert answer.status == 201
            self._store(name, body, answer)

    @rule(limit=st.integers(1, 4))
    def list(self, limit: int) -> None:
        """All pages together are the dict."""
        found: dict[str, Any] = {}
        after = ""
        while True:
            page = self.client.get(f"{self.table}/id?limit={limit}{after}").json()
            for one in page["entries"]:
                assert one["id"] not in found
                found[one["id"]] = one["data"]
            if page["after"] is None:
                break
            after = f"&after={page['after']}"
        assert found == {name: body for name, (body, _) in self.stored.items()}

    @invariant()
    def entries_are_counted(self) -> None:
        """The table knows how many there are."""
        if hasattr(self, "table"):
            assert self.client.get(self.table).json()["entries"] == len(self.stored)

    def _conditions(self, name: str, match: str, none_match: str) -> dict[str, str]:
        spelled = {"If-Match": self._spelled(name, match)}
        spelled["If-None-Match"] = self._spelled(name, none_match)
        return {header: tags for header, tags in spelled.items() if tags}

    def _spelled(self, name: str, want: str) -> str:
        current = self.stored[name][1] if name in self.stored else NO_VERSION
        return {
            "": "",
            "current": current,
            "former": self.former.get(name, NO_VERSION),
            "none": NO_VERSION,
            "any": "*",
            "current and none": f"{NO_VERSION}, {current}",
        }[want]

    def _holds(self, name: str, want: str) -> bool:
        return name in self.stored and want in {"current", "any", "current and none"}

    def _may_write(self, name: str, match: str, none_match: str, answer: Answer) -> bool:
        if name not in self.stored:
            assert answer.status == 404
            return False
        if (match and not self._holds(name, match)) or self._holds(name, none_match):
            assert answer.status == 412
            return False
        return True

    def _store(self, name: str, body: dict[str, Any], answer: Answer) -> None:
        tag = answer.headers["etag"]
        if name in self.stored:
            self.former[name] = self.stored[name][1]
        assert tag != self.former.get(name)
        self.stored[name] = (body, tag)


@pytest.mark.timeout(120)
def test_random_histories(server: Server, client: CheckedClient, tenant: str) -> None:
    """1,200 steps in 40 histories: whatever the order, the server is a dict with conditions."""
    Entries.client, Entries.tenant = client, tenant
    run_state_machine_as_test(
        Entries,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
