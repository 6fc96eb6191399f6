"""Clients that write and read without pause, as applications do, and remember what went wrong.

    with load([url_a, url_b], key, table="orders", lanes=4) as running:
        time.sleep(3)
    assert running.failures == []
    running.check()                # every acknowledged item is there, as it was last written

Each lane has items of its own, puts a new version of one and reads it back, strongly. Requests go
through AWS's SDK; `attempts` is its own count of tries, 1 for none but the first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from dstore.security.credentials import AccessKey

REGION: Final = "us-east-1"
TIMEOUT_S: Final = 20.0
_ITEMS_A_LANE: Final = 50
_KEYS_A_BATCH: Final = 100
_PAUSE_S: Final = 0.01  # two cores run the whole cluster, and other tests
_END_S: Final = 60.0


def sdk_client(url: str, key: AccessKey, *, attempts: int = 5, timeout_s: float = TIMEOUT_S) -> Any:
    """Make a DynamoDB client as an application has it; it is to be closed."""
    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=50,
        ),
    )


class Load:
    """Lanes of requests under way."""

    def __init__(self, clients: Sequence[Any], *, table: str, lanes: int) -> None:
        """Prepare; each client gets so many lanes."""
        self._clients = clients
        self._table = table
        self._stopping = threading.Event()
        self._last: list[dict[str, int]] = [{} for _ in range(lanes * len(clients))]
        self._requests = [0] * len(self._last)
        self._slowest_s = [0.0] * len(self._last)
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._lane, args=(number,), daemon=True)
            for number in range(len(self._last))
        ]

    @property
    def requests(self) -> int:
        """Return how many requests were answered."""
        return sum(self._requests)

    @property
    def slowest_s(self) -> float:
        """Return how long the slowest took, with the SDK's own retries."""
        return max(self._slowest_s)

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

    def check(self, client: Any = None) -> None:
        """Read everything that was acknowledged, through any client."""
        reader = client or self._clients[-1]
        try:
            self._check(reader)
        finally:
            self.close()

    def close(self) -> None:
        """Close the connections; the next request opens one."""
        for client in self._clients:
            client.close()

    def _check(self, reader: Any) -> None:
        wanted = {key: version for last in self._last for key, version in last.items()}
        found: dict[str, int] = {}
        for some in _batches(list(wanted)):
            asked = {"Keys": [{"p": {"S": key}} for key in some], "ConsistentRead": True}
            while asked is not None:
                answer = reader.batch_get_item(RequestItems={self._table: asked})
                for item in answer["Responses"][self._table]:
                    found[item["p"]["S"]] = int(item["version"]["N"])
                asked = answer["UnprocessedKeys"].get(self._table)
        lost = [key for key, version in wanted.items() if found.get(key) != version]
        assert not lost, {key: (wanted[key], found.get(key)) for key in lost}

    def _lane(self, number: int) -> None:
        client = self._clients[number % len(self._clients)]
        last = self._last[number]
        version = 0
        while not self._stopping.is_set():
            version += 1
            key = f"lane-{number}-{version % _ITEMS_A_LANE}"
            began = time.monotonic()
            try:
                client.put_item(
                    TableName=self._table, Item={"p": {"S": key}, "version": {"N": str(version)}}
                )
                last[key] = version
                found = self._get(client, key)
            except (BotoCoreError, ClientError) as error:
                self.failures.append(f"{key}: {type(error).__name__}: {error}")
                last.pop(key, None)  # nobody knows
                continue
            finally:
                self._slowest_s[number] = max(self._slowest_s[number], time.monotonic() - began)
            if found != version:
                self.failures.append(f"{key}: read {found} after {version} was acknowledged")
            self._requests[number] += 2
            time.sleep(_PAUSE_S)

    def _get(self, client: Any, key: str) -> int | None:
        answer = client.get_item(TableName=self._table, Key={"p": {"S": key}}, ConsistentRead=True)
        return int(answer["Item"]["version"]["N"]) if "Item" in answer else None


def _batches(keys: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(keys), _KEYS_A_BATCH):
        yield keys[begin : begin + _KEYS_A_BATCH]


@contextmanager
def load(
    urls: Sequence[str], key: AccessKey, *, table: str, lanes: int = 4, attempts: int = 5
) -> Iterator[Load]:
    """Run lanes of requests through each URL for as long as the context lasts."""
    clients = [sdk_client(url, key, attempts=attempts) for url in urls]
    running = Load(clients, table=table, lanes=lanes)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        running.close()
