"""A real HTTP server on loopback that keeps what it is sent and answers as told: for webhooks and pings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sink:
    """Answers ``status`` to everything, with a Location when it has one; letter by letter until ``drip`` is set."""

    port: int = 0
    status: int = 200
    location: str | None = None
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    drip: threading.Event | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was posted, in order: the documents of apprise's ``json://``."""
        return [json.loads(body) for method, _, body in list(self.requests) if method == "POST"]

    @property
    def pings(self) -> list[str]:
        """The paths that were asked for."""
        return [path for method, path, _ in list(self.requests) if method == "GET"]


@contextmanager
def sink() -> Iterator[Sink]:
    """Listen on a free port."""
    kept = Sink()

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept.requests.append((self.command, self.path, body))
            self.send_response(kept.status)
            if kept.drip is not None:
                self.flush_headers()
                while not kept.drip.wait(0.05):
                    self.wfile.write(b"X")  # a header that never ends: there is always something to read
                return
            if kept.location is not None:
                self.send_header("Location", kept.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _take  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield kept
    finally:
        if kept.drip is not None:
            kept.drip.set()
        server.shutdown()
        server.server_close()
