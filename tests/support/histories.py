"""Clients that read and write shared keys without pause, and a record of all they were told.

    with recorded(clients, ranges) as running:
        …                                  # kill, stop, cut off whom you like
    running.read_back(clients[0])
    assert running.problems() == []        # some order explains it; see tests/simulation

Registers are read, put and swapped under a condition, counters are added to and read. All reads are
strong. A key is used for OPERATIONS_A_KEY operations and then never again, since judging one takes
the longer the more outcomes are unknown. Every lane stays with the keys of one hash range, so that
one range that nobody serves does not hold up what goes to the others.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
)

from dstore.model.hashing import KeyKind, key_hash
from tests.simulation.history import Add, Call, Fate, History, Operation, Put, Read, Swap, Value
from tests.simulation.linearizability import violations
from tests.support.cluster import eventually

OPERATIONS_A_KEY: Final = 120
PAUSE_S: Final = 0.02  # two cores run the whole cluster
_END_S: Final = 90.0
_KEYS_A_RANGE: Final = 2  # of each kind, in use at a time
_REFUSED: Final = frozenset({400, 429, 503})  # certainly not done, as the API says
_NOT_SENT: Final = (EndpointConnectionError, ConnectTimeoutError)

HashRange = tuple[int, int]
"""The first and the last hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client.

    Attributes:
        sdk: AWS's.
        repeats: whether the SDK repeats requests by itself, so that an error tells of the last try
            alone: what was to be written is unknown.
    """

    sdk: Any
    repeats: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write that was acknowledged; its range by number, and when, on `time.monotonic`."""

    range: int
    began_s: float
    ended_s: float


class Recorded:
    """Lanes of operations under way; `written` and `history` grow until `stop`."""

    def __init__(
        self,
        clients: Sequence[Client],
        ranges: Sequence[HashRange],
        *,
        table: str,
        lanes_a_range: int,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Prepare; lanes use the clients in turn.

        Args:
            clients: at least one.
            ranges: the table's.
            table: with the string `p` as its key.
            lanes_a_range: how many clients use the keys of one range.
            pause_s: of a lane between two operations.
        """
        self.history = History()
        self.written: list[Written] = []
        self.read = 0
        self._table = table
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._failed: list[BaseException] = []
        run = secrets.token_hex(4)  # keys are absent at first
        self._keys = [
            _Keys(at, f"{kind}-{run}-{number}")
            for at in ranges
            for kind in "rc"
            for number in range(_KEYS_A_RANGE)
        ]
        each = len(self._keys) // len(ranges)
        self._threads = [
            threading.Thread(
                target=self._lane,
                kwargs={
                    "name": f"client-{number}",
                    "client": clients[number % len(clients)],
                    "at": number % len(ranges),
                    "keys": self._keys[number % len(ranges) * each :][:each],
                },
                daemon=True,
            )
            for number in range(lanes_a_range * len(ranges))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each lane finish what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_END_S)
            assert not thread.is_alive(), "a request was not answered"
        if self._failed:
            raise self._failed[0]

    def read_back(self, client: Client) -> None:
        """Read every key once more, after `stop`, so that what was acknowledged is looked for."""
        for key in self.history.by_key():
            operation = self.history.invoke("reader", key, Read())
            self._do(operation, client)
            assert operation.fate is Fate.OK, operation

    def problems(self) -> list[str]:
        """Judge what was recorded, after `stop`. Returns: a text for each key that is not right."""
        return violations(self.history)

    def next_written(self, at: int, since_s: float) -> Written | None:
        """Find the first acknowledgement of a write to a range that began since then."""
        found = [w for w in tuple(self.written) if w.range == at and w.began_s >= since_s]
        return min(found, key=lambda each: each.ended_s, default=None)

    def awaited_s(self, at: int, since_s: float, *, within_s: float) -> float:
        """Wait until a write to a range that began since then is acknowledged.

        Returns: the seconds from then on. Raises: AssertionError: there is none in time.
        """
        eventually(
            lambda: self.next_written(at, since_s) is not None,
            what=f"range {at} takes writes",
            within_s=within_s,
        )
        first = self.next_written(at, since_s)
        assert first is not None
        return first.ended_s - since_s

    # ------------------------------------------------------------------------------------- a lane

    def _lane(self, *, name: str, client: Client, at: int, keys: Sequence[_Keys]) -> None:
        chance = random.Random()
        seen: dict[str, Value] = {}
        try:
            while not self._stopping.is_set():
                key = chance.choice(keys).current()
                call = _chosen(key, chance, seen.get(key))
                began_s = time.monotonic()
                operation = self.history.invoke(name, key, call)
                self._do(operation, client)
                if operation.fate is Fate.OK:
                    self._note(
                        operation, Written(range=at, began_s=began_s, ended_s=time.monotonic())
                    )
                    _learn(seen, operation)
                else:
                    time.sleep(self._pause_s)
                time.sleep(self._pause_s)
        except BaseException as error:  # noqa: BLE001 - `stop` raises it
            self._failed.append(error)

    def _note(self, operation: Operation, written: Written) -> None:
        if isinstance(operation.call, Read) or operation.answer is False:
            self.read += 1
        else:
            self.written.append(written)

    def _do(self, operation: Operation, client: Client) -> None:
        try:
            answer = self._ask(operation.key, operation.call, client.sdk)
        except (ClientError, BotoCoreError) as error:
            self.history.end(operation, _fate(error, client))
        else:
            self.history.end(operation, Fate.OK, answer)

    def _ask(self, key: str, call: Call, sdk: Any) -> Any:
        named = {"TableName": self._table, "Key": {"p": {"S": key}}}
        match call:
            case Read():
                item = sdk.get_item(**named, ConsistentRead=True).get("Item")
                return None if item is None else _value(item)
            case Add():
                answer = sdk.update_item(
                    **named,
                    UpdateExpression="ADD n :amount",
                    ExpressionAttributeValues={":amount": {"N": str(call.amount)}},
                    ReturnValues="UPDATED_NEW",
                )
                return _value(answer["Attributes"])
            case Put():
                sdk.put_item(TableName=self._table, Item=_item(key, call.value))
                return None
            case Swap():
                try:
                    sdk.put_item(
                        TableName=self._table,
                        Item=_item(key, call.value),
                        **_condition(call.expected),
                    )
                except ClientError as error:
                    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                        raise
                    return False
                return True


class _Keys:
    """Keys of one range, one after the other."""

    def __init__(self, at: HashRange, prefix: str) -> None:
        self._at = at
        self._prefix = prefix
        self._numbers = count()
        self._lock = threading.Lock()
        self._used = OPERATIONS_A_KEY
        self._key = ""

    def current(self) -> str:
        """Give the key that is in use, for one operation."""
        with self._lock:
            if self._used == OPERATIONS_A_KEY:
                self._key, self._used = self._next(), 0
            self._used += 1
            return self._key

    def _next(self) -> str:
        first, last = self._at
        for number in self._numbers:
            key = f"{self._prefix}-{number}"
            if first <= key_hash(KeyKind.STRING, key) <= last:
                return key
        raise AssertionError("numbers do not end")


def _chosen(key: str, chance: random.Random, seen: Value) -> Call:
    """Choose what to do; no value is written twice."""
    number = chance.random()
    if number < 0.3:
        return Read()
    if key.startswith("c"):
        return Add(chance.randrange(1, 1_000))
    value = f"{chance.getrandbits(48):012x}"
    return Put(value) if number < 0.6 else Swap(seen, value)


def _learn(seen: dict[str, Value], operation: Operation) -> None:
    """Remember a value for the next condition."""
    match operation.call:
        case Read():
            answer = operation.answer
            assert answer is None or isinstance(answer, int | str)
            seen[operation.key] = answer
        case Put(value):
            seen[operation.key] = value
        case Swap(_, value) if operation.answer:
            seen[operation.key] = value
        case _:
            pass


def _item(key: str, value: Value) -> dict[str, Any]:
    return {"p": {"S": key}, "v": {"S": value}}


def _value(item: dict[str, Any]) -> Value:
    return int(item["n"]["N"]) if "n" in item else str(item["v"]["S"])


def _condition(expected: Value) -> dict[str, Any]:
    if expected is None:
        return {"ConditionExpression": "attribute_not_exists(p)"}
    return {
        "ConditionExpression": "v = :expected",
        "ExpressionAttributeValues": {":expected": {"S": expected}},
    }


def _fate(error: ClientError | BotoCoreError, client: Client) -> Fate:
    """Say what an error tells of a write."""
    if client.repeats:
        return Fate.UNKNOWN
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return Fate.FAILED if status in _REFUSED else Fate.UNKNOWN
    return Fate.FAILED if isinstance(error, _NOT_SENT) else Fate.UNKNOWN


@contextmanager
def recorded(
    clients: Sequence[Client],
    ranges: Sequence[HashRange],
    *,
    table: str,
    lanes_a_range: int = 3,
) -> Iterator[Recorded]:
    """Let lanes work for as long as the context lasts; see `Recorded`."""
    running = Recorded(clients, ranges, table=table, lanes_a_range=lanes_a_range)
    running.start()
    try:
        yield running
    finally:
        running.stop()
