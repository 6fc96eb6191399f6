"""What stands before several proxies in production: one address, and connections to whoever lives.

    with balanced([("127.0.0.1", 8000), ("127.0.0.1", 8100)]) as url:
        …                     # connections go out in turn; one that is refused goes elsewhere

It looks at no byte. When a proxy dies, its connections break, as they do behind any balancer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Final

Address = tuple[str, int]

_CHUNK_BYTES: Final = 65_536
_DIAL_S: Final = 2.0


class _Balancer(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, upstreams: Sequence[Address]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._upstreams = tuple(upstreams)
        self._turns = count()

    def dial(self) -> socket.socket | None:
        """Connect to the next one that answers."""
        first = next(self._turns)
        for n in range(len(self._upstreams)):
            with suppress(OSError):
                address = self._upstreams[(first + n) % len(self._upstreams)]
                upstream = socket.create_connection(address, _DIAL_S)
                upstream.settimeout(None)
                return upstream
        return None


class _Connection(BaseRequestHandler):
    server: _Balancer
    request: socket.socket

    def handle(self) -> None:
        upstream = self.server.dial()
        if upstream is None:
            return
        with upstream:
            back = threading.Thread(target=_pump, args=(upstream, self.request), daemon=True)
            back.start()
            _pump(self.request, upstream)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until either side is gone, and let the other know."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            sink.sendall(chunk)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def balanced(upstreams: Sequence[Address]) -> Iterator[str]:
    """Balance connections over proxies. Yields: the URL that stands for all of them."""
    with _Balancer(upstreams) as balancer:
        thread = threading.Thread(target=balancer.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{balancer.server_address[1]}"
        finally:
            balancer.shutdown()
