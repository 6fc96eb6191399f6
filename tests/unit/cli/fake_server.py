"""A small HTTP server that answers as a test says, and remembers what it was asked."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dstore.model.refusal_texts import NO_SUCH_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it came; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; `is_late` never comes, `is_cut` closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_late: bool = False
    is_cut: bool = False


def problem(status: int, detail: str, *, name: str = "some-problem") -> Reply:
    """Make an error as dStore renders it."""
    body = {
        "type": f"urn:dstore:problem:{name}",
        "title": "A title",
        "status": status,
        "detail": detail,
        "instance": "request-7",
    }
    headers = {"Content-Type": "application/problem+json"}
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers)


class FakeServer:
    """Answer by method and target; several replies to one of them come in turn."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.released = threading.Event()
        self._replies: dict[tuple[str, str], list[Reply]] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def on(
        self, method: str, target: str, document: Any = None, *, reply: Reply | None = None
    ) -> None:
        """Answer with a document and 200, or with a reply."""
        body = b"" if document is None else json.dumps(document).encode()
        self._replies.setdefault((method, target), []).append(reply or Reply(body=body))

    def answer(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        replies = self._replies.get((seen.method, seen.target))
        if not replies:
            return problem(404, NO_SUCH_PATH, name="not-found")
        return replies.pop(0) if len(replies) > 1 else replies[0]


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body_bytes = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(body_bytes)
            if len(body) < body_bytes:  # who has what it wants ends its other requests midway
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(method=self.command, target=self.path, headers=headers, body=body)
            reply = server.answer(seen)
            if reply.is_late:
                server.released.wait(10)
            if reply.is_cut or reply.is_late:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status not in {204, 304}:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Say nothing: the test looks at `seen`."""

    return Handler
