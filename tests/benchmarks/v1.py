"""Requests a second over HTTP, with wrk: 32 connections, 1 KB entries of 10 attributes.

GET reads random ones of the loaded entries; PUT creates entries under new keys; POST replaces
random loaded entries. All writes are durable (fsync) and everything is encrypted. wrk runs beside
the server on the same two cores, with a tenant's token.
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp

ENTRIES: Final = 20_000
CONNECTIONS: Final = 32
SECONDS: Final = 8
ROUNDS: Final = 3
READY_S: Final = 20.0
TABLE: Final = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What wrk printed of one run."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def main() -> None:
    """Start a server in a scratch directory, load it, measure, print a table."""
    with tempfile.TemporaryDirectory(prefix="dstore-bench-") as directory:
        command = [sys.executable, "-m", "dstore", "serve", "--data", directory, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _measure(Path(directory))
            finally:
                server.send_signal(signal.SIGTERM)


def _measure(directory: Path) -> None:
    env = _client_env(directory)
    operator = env["DSTORE_TOKEN"]
    admin = f"{env['DSTORE_ADMIN_URL']}/admin/v1/tenant/default/token"
    token = _call("POST", admin, operator)["token"]
    table = f"{env['DSTORE_URL']}/v1/tenant/default/table/{TABLE}"
    _call("PUT", table, token, {"idType": "String"})
    asyncio.run(_load(f"{table}/id", token))
    print(f"{CONNECTIONS} connections, 1 KB entries, {ENTRIES} loaded, medians of {ROUNDS} runs")
    for method in ("GET", "PUT", "POST"):
        runs = [
            _wrk(directory, method, f"{table}/id", token=token, round_number=number)
            for number in range(ROUNDS)
        ]
        rate = median(run.requests_per_s for run in runs)
        p50, p99 = median(run.p50_ms for run in runs), median(run.p99_ms for run in runs)
        failed = sum(run.failed for run in runs)
        print(
            f"{method:<5}{rate:>9,.0f} requests/s   p50 {p50:>6.2f} ms   p99 {p99:>6.2f} ms"
            + (f"   {failed} not 2xx" if failed else "")
        )


async def _load(url: str, token: str) -> None:
    numbers = iter(range(ENTRIES))
    headers = {"Authorization": f"Bearer {token}"}

    async def put_all(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.put(f"{url}/key-{number}", json=_entry(number)) as answer:
                assert answer.status == 201, await answer.text()

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await asyncio.gather(*(put_all(session) for _ in range(CONNECTIONS)))


def _wrk(directory: Path, method: str, url: str, *, token: str, round_number: int) -> Figure:
    script = directory / f"{method}-{round_number}.lua"
    body = json.dumps(_entry(1)).replace("'", "")
    key = (
        f"'/new-{round_number}-' .. os.time() .. '-' .. count"
        if method == "PUT"
        else f"'/key-' .. math.random(0, {ENTRIES - 1})"
    )
    body_line = "" if method == "GET" else f"wrk.body = '{body}'"
    script.write_text(
        f"""
wrk.method = '{method}'
wrk.headers['Authorization'] = 'Bearer {token}'
wrk.headers['Content-Type'] = 'application/json'
{body_line}
local count, refused = 0, 0
request = function()
  count = count + 1
  return wrk.format(nil, wrk.path .. {key})
end
"""
    )
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script)]
    printed = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    return Figure(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", printed)),
        p50_ms=_milliseconds(_found(r"(?m)^\s+50%\s+(\S+)", printed)),
        p99_ms=_milliseconds(_found(r"(?m)^\s+99%\s+(\S+)", printed)),
        failed=int(failed.group(1)) if failed else 0,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match.group(1)


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    assert match is not None, text
    return float(match.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match.group(2)]


def _entry(number: int) -> dict[str, str]:
    return {f"attribute{i}": f"{number * 10 + i:090d}" for i in range(10)}


def _client_env(directory: Path) -> dict[str, str]:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        path = directory / "client.env"
        if path.exists():
            return dict(line.split("=", 1) for line in path.read_text().splitlines())
        time.sleep(0.05)
    raise TimeoutError(f"no client.env after {READY_S} s; does dstore serve start?")


def _call(method: str, url: str, token: str, body: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - a URL of our own server
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        return json.load(answer)


if __name__ == "__main__":
    main()
