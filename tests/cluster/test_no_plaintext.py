"""Nothing readable is ever in a file, and no file is written but the known ones (I2)."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.canaries import forms, found, traced_opens
from tests.support.http_client import JSON, MERGE_PATCH, Client
from tests.support.server import Server, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT: Final = "quokkatenant"
TABLE: Final = "QuokkaTable"
NAMES: Final = (TENANT, TABLE)
SECRET: Final = "QuokkaSecretOfAnAccessKey"
IDS: Final = ("quokka-id-plain", "quokka-id-merged", "quokka-id-deleted", "quokka-id-deferred")
CONTENT: Final = (
    "QuokkaAttribute",
    "QuokkaValueText",
    "QuokkaNestedName",
    "QuokkaNestedValue",
    "QuokkaDeletedValue",
    "QuokkaPatchedName",
    "QuokkaPatchedValue",
    "QuokkaDeferredValue",
    "73190584627390518462",  # a number
    "QuokkaIdempotencyKey",
    "QuokkaRefusedName",
)
CALLS: Final = (
    "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "truncate,mkdir,mkdirat,mknod,mknodat,memfd_create"
)
WRITES: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")
UUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
STORED: Final = re.compile(
    r"lock"
    r"|\.(client\.env|node\.key|node\.wraps|control\.key|control\.uuid)\.new"
    r"|client\.env|node\.key|node\.wraps|control\.key|control\.uuid"
    r"|topology\.db-journal"  # of what is sealed, for the moment in which the file is made
    r"|(control\.db(\.new)?|topology\.db)(-wal|-shm)?"
    rf"|(node\.db(\.new)?|ranges/[0-9a-f]{{2}}/{UUID}\.db)(-wal|-shm)?"
    r"|ranges(/[0-9a-f]{2})?|"
)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server under strace that logs all it can, with small logs so that it folds often."""
    directory = tmp_path_factory.mktemp("traced")
    trace = directory.parent / f"{directory.name}.trace"
    strace = (
        "strace",
        "-D",
        "-A",
        "-f",
        "-qq",
        "-s",
        "400",
        "-o",
        str(trace),
        "-e",
        f"trace={CALLS}",
    )
    settings = {"log-requests": "all", "log-level": "debug", "wal-pages-checkpoint": "100"}
    with prepared(directory, settings=settings, prefix=strace) as server:
        server.start()
        yield server


def _everything(client: Client, admin: Client) -> list[str]:
    """Use each way by which a text gets in. Returns: the secrets that came out."""
    base = f"/v1/tenant/{TENANT}"
    table = f"{base}/table/{TABLE}"
    assert client.put(base).status == 201
    assert client.put(table, {"idType": "String"}).status == 201
    key = {"Idempotency-Key": "QuokkaIdempotencyKey"}
    document = {
        "QuokkaAttribute": "QuokkaValueText",
        "number": 73190584627390518462,
        "map": {"QuokkaNestedName": ["QuokkaNestedValue", {"deep": "QuokkaValueText"}]},
    }
    for entry in IDS[:3]:
        assert client.put(f"{table}/id/{entry}", document, headers=key).status == 201
    patch = {"QuokkaPatchedName": "QuokkaPatchedValue"}
    assert client.merge(f"{table}/id/{IDS[1]}", patch, headers=key).status == 200
    assert client.post(f"{table}/id/{IDS[2]}", {"x": "QuokkaDeletedValue"}).status == 200
    assert client.delete(f"{table}/id/{IDS[2]}").status == 204
    deferred = {"x": "QuokkaDeferredValue"}
    later = {"Prefer": "respond-async"}
    assert client.put(f"{table}/id/{IDS[3]}", deferred, headers=later).status == 202
    for number in range(300):  # folds the log several times
        assert client.put(f"{table}/id/quokka-fill-{number}", document).status == 201
    assert client.get(f"{table}/id/{IDS[0]}").json() == document
    assert client.get(f"{table}/id?limit=5").json()["after"]
    _refusals(client, table)
    secrets = [admin.post(f"/admin/v1/tenant/{TENANT}/access-key").json()["secret"], SECRET]
    imported = f"/admin/v1/tenant/{TENANT}/access-key/QUOKKAACCESSKEYID"
    assert admin.put(imported, {"secret": SECRET}).status == 201
    secrets.append(admin.post(f"/admin/v1/tenant/{TENANT}/token").json()["token"].split("_", 2)[2])
    secrets.append(admin.post("/admin/v1/token").json()["token"].split("_", 2)[2])
    return secrets


def _refusals(client: Client, table: str) -> None:
    """Refusals quote what they complain about: to the client, never to the log."""
    refused = "QuokkaRefusedName"
    assert client.put(f"{table}/id/{IDS[0]}", {refused: 1}).status == 409
    assert client.put(f"{table}/id/{IDS[1]}?{refused}=1", {}).status == 400
    assert client.put(f"{table}/id/{refused}", b'{"QuokkaRefusedName": nope}').status == 400
    assert client.put(f"{table}/id/{refused}", b'{"QuokkaRefusedName": 1e999}').status == 400
    assert client.get(f"{table}/id/{refused}").status == 404
    assert client.get(f"{table}/{refused}").status == 404
    wrong = {"Authorization": f"Bearer dst_aaaaaaaaaaaa_{refused}"}
    assert client.get(table, headers=wrong).status == 401
    signed = (
        f"AWS4-HMAC-SHA256 Credential={refused}/20260101/us-east-1/dstore/aws4_request, "
        f"SignedHeaders=host, Signature={refused}"
    )
    assert client.get(table, headers={"Authorization": signed}).status in {400, 401, 403}
    assert client.put(f"{table}/id/a", {}, headers={"If-Match": refused}).status == 400
    for content_type in (JSON, MERGE_PATCH):
        answer = client.request(
            "POST", f"{table}/id/{refused}", {refused: refused}, content_type=content_type
        )
        assert answer.status == 404


def _files(server: Server) -> list[Path]:
    """List every file that the process could have written, its logs included."""
    return sorted(file for file in server.directory.rglob("*") if file.is_file())


def _assert_silent(server: Server, secrets: list[str]) -> None:
    """Find no canary anywhere, but in client.env what that file is there to tell."""
    env = server.env()
    own = [env["AWS_SECRET_ACCESS_KEY"], env["DSTORE_TOKEN"].split("_", 2)[2]]
    files = _files(server)
    hidden = [*IDS, *CONTENT, *secrets]
    assert found(files, hidden) == []
    assert found([f for f in files if f.name != "client.env"], own) == []
    # The audit log says which tenant and which table came and went; nothing stored says it.
    logs = {server.stdout, server.stderr}
    assert found([f for f in files if f not in logs], NAMES) == []
    assert not any(server.tmp.iterdir())
    named = [str(file.relative_to(server.directory)) for file in files]
    assert not [name for name in named if "quokka" in name.lower()]


def _assert_known_files(server: Server) -> None:
    """Hold every file that was opened for writing, renamed or made to the list of known ones."""
    trace = server.directory.parent / f"{server.directory.name}.trace"
    calls = traced_opens(trace.read_text(errors="replace").splitlines())
    assert len(calls) > 100, "strace saw nothing"
    data = str(server.data)
    strangers = set()
    for path, flags in calls:
        is_read_only = flags.startswith("O_") and not WRITES.search(flags)
        if is_read_only or path == "/dev/null":
            continue
        inside = path == data or path.startswith(f"{data}/")
        if not inside or not STORED.fullmatch(path.removeprefix(data).removeprefix("/")):
            strangers.add((path, flags))
    assert strangers == set()
    databases = {path for path, _ in calls if ".db" in path.rpartition("/")[2]}
    databases.discard(f"{data}/topology.db-journal")
    assert any(path.endswith("-wal") for path in databases)
    assert any(path.endswith("-shm") for path in databases)
    assert not [path for path in databases if "journal" in path or "etilqs" in path]


def test_nothing_readable_in_any_file(traced: Server) -> None:
    """Search all files while logs are hot, after a kill, after a restart, and after a stop."""
    with traced.client() as client, traced.admin() as admin:
        secrets = _everything(client, admin)
        _assert_silent(traced, secrets)
    traced.kill()
    _assert_silent(traced, secrets)
    traced.start()
    with traced.client() as client:
        entry = f"/v1/tenant/{TENANT}/table/{TABLE}/id/{IDS[3]}"
        assert client.get(entry).json() == {"x": "QuokkaDeferredValue"}
        _assert_silent(traced, secrets)
        assert client.delete(f"/v1/tenant/{TENANT}?force=true").status == 204
        _assert_silent(traced, secrets)
    assert traced.stop() == 0
    _assert_silent(traced, secrets)
    _assert_known_files(traced)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """A search that finds nothing proves something only if it would find it."""
    canary = "QuokkaValueText"
    for number, form in enumerate(forms(canary).values()):
        file = tmp_path / f"{number}"
        file.write_bytes(b"\x00before" + form + b"after\xff")
        assert found([file], [canary])
    for shift in range(3):
        file = tmp_path / f"shifted-{shift}"
        file.write_bytes(b64encode(b"x" * shift + canary.encode() + b"yz"))
        assert found([file], [canary]), shift
    line = '12 openat(AT_FDCWD, "/a/b", O_RDWR|O_CREAT, 0600) = 3'
    assert traced_opens([line, '12 rename("/a", "/b") = 0']) == [
        ("/a/b", "O_RDWR|O_CREAT, 0600"),
        ("/a", "rename"),
        ("/b", "rename"),
    ]
