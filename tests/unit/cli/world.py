"""What a command line meets in these tests: a real HTTP server that answers as told, and a stack that is described.

Rule of the file: the product is driven through ``main`` with its real streams; nothing of it is replaced.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.cli.main import main
from orchestrator.cli.ports import Endpoint, Listing, UpOptions
from orchestrator.cli.settings import CliSettings
from shared.errors import REGISTRY


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What to answer. ``frames`` makes an event stream; ``drop`` closes the connection without a word."""

    status: int = 200
    body: Any = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    frames: tuple[str, ...] | None = None
    drop: bool = False
    before: Callable[[], None] | None = None


Responder = Callable[[Request], Answer]


def problem(code: str, detail: str = "because", **fields: object) -> Answer:
    """The problem document of a code, as the API sends it."""
    kind = REGISTRY[code]
    document = {"type": "about:blank", "title": kind.title, "status": kind.status, "detail": detail, "code": code}
    return Answer(kind.status, {**document, "hint": kind.hint, **fields}, "application/problem+json")


def frame(job: Mapping[str, Any]) -> str:
    """One event of a job's stream."""
    return f"event: job\ndata: {json.dumps(job)}\n\n"


class Server:
    """Answers in the order told for each ``METHOD /path``; the last answer is repeated."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.dates: str | None = None  # what the Date header says; None is the truth
        self._answers: dict[str, list[Answer | Responder]] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def on(self, what: str, *answers: Answer | Responder) -> None:
        """Tell what to answer to ``METHOD /path`` below /api/v1."""
        method, path = what.split(" ")
        self._answers[f"{method} /api/v1{path}"] = list(answers)

    def seen(self, what: str) -> list[Request]:
        """The requests of ``METHOD /path``."""
        method, path = what.split(" ")
        return [r for r in self.requests if (r.method, r.path) == (method, f"/api/v1{path}")]

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        told = self._answers.get(f"{request.method} {request.path}")
        if not told:
            return problem("not-found", f"nobody told this test about {request.method} {request.path}")
        answer = told.pop(0) if len(told) > 1 else told[0]
        return answer(request) if callable(answer) else answer

    def _handler(server: Server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler is the inner self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                request = Request(
                    self.command, path, query, dict(self.headers.items()), json.loads(raw) if raw else None
                )
                answer = server.answer(request)
                if answer.before is not None:
                    answer.before()
                if answer.drop:
                    self.close_connection = True
                elif answer.frames is not None:
                    self._stream(answer.frames)
                else:
                    self._document(answer)

            def _document(self, answer: Answer) -> None:
                body = (
                    b""
                    if answer.body is None
                    else (answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode())
                )
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.media_type)
                self.send_header("Content-Length", str(len(body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def _stream(self, frames: tuple[str, ...]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                for one in frames:
                    self.wfile.write(one.encode())
                    self.wfile.flush()

            def date_time_string(self, timestamp: float | None = None) -> str:
                return server.dates or super().date_time_string(timestamp)

            def log_message(self, *_: object) -> None:
                """Keep the test's stderr to the product."""

            do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that the library calls

        return Handler


@dataclass
class DescribedStack:
    """A home whose stack is as the test says."""

    home: str
    running: Endpoint | None = None
    healthy: bool = True
    warnings: list[str] = field(default_factory=list)
    ups: list[UpOptions] = field(default_factory=list)

    def up(self, home: str, options: UpOptions, *, announce: Callable[[Mapping[str, object]], None]) -> None:
        self.ups.append(options)
        announce(self.status(home))

    def down(self, home: str) -> bool:
        was, self.running = self.running, None
        return was is not None

    def status(self, home: str) -> Mapping[str, object]:
        url = self.running.url if self.running else None
        process = {"name": "api", "pid": 7, "alive": True, "since": None, "restarts": 0, "rss": 1 << 20}
        return {
            "running": self.running is not None,
            "healthy": self.running is not None and self.healthy,
            "home": home,
            "url": url,
            "versions": {"postgresql": "18"},
            "processes": [process] if self.running else [],
            "warnings": self.warnings,
            "logs": f"{home}/logs",
        }

    def endpoint(self, home: str) -> Endpoint | None:
        return self.running if home == self.home else None

    def keyring_folder(self, home: str) -> str:
        return f"{home}/worker/keyring"

    def cache_folder(self, home: str) -> str:
        return f"{home}/worker/cache"


@dataclass
class ListedPoint:
    """A lister that has the entries in hand; ``fails`` is raised after them."""

    listed: list[dict[str, object]] = field(default_factory=list)
    fails: Exception | None = None
    asked: list[Listing] = field(default_factory=list)

    def entries(self, listing: Listing) -> Iterator[Mapping[str, object]]:
        self.asked.append(listing)
        yield from self.listed
        if self.fails is not None:
            raise self.fails


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"stdout is not one document: {self.out!r}"
        return json.loads(lines[0])


@dataclass
class World:
    """A home, a server and a way to run command lines in them."""

    home: str
    server: Server
    stack: DescribedStack
    lister: ListedPoint
    capture: pytest.CaptureFixture[str]
    config_file: str

    def run(self, *argv: str) -> Ran:
        """Run one command line in this process."""
        self.capture.readouterr()
        settings = CliSettings(debug=False, config_file=self.config_file, default_home=self.home)
        code = main(argv, stack=self.stack, lister=self.lister, settings=settings)
        out, err = self.capture.readouterr()
        return Ran(code, out, err)


@contextmanager
def serving() -> Iterator[Server]:
    """A server for as long as the block."""
    server = Server()
    try:
        yield server
    finally:
        server.close()
