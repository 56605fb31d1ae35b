"""A line to an S3 server that goes wrong as told: an HTTP proxy on loopback between a store and a real server.

Rule of the file: faults are planned beforehand, per method and in order, and each happens once; every other request
passes through unchanged, its ``Host`` header too, which signatures cover. One request per connection.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

_PIECE = 64 * 1024


class Trouble(StrEnum):
    """What happens to one request."""

    REFUSE = "refuse"  # the server is not asked; the answer is ``status`` with the S3 code ``word``
    LOSE_REPLY = "lose-reply"  # the server does it, and the connection breaks before the first byte of its answer
    CUT_REPLY = "cut-reply"  # the connection breaks half-way through the body of the server's answer
    STALL = "stall"  # nothing more is heard, and the connection stays open until the client ends it
    CRAWL = "crawl"  # the request passes at ``bytes_per_second``


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFault:
    """One fault."""

    trouble: Trouble
    status: int = 503
    word: str = "SlowDown"
    bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    head: bytes
    length: int
    begun: bytes  # what of the body came with the head


class FaultProxy:
    """Use as a context manager; ``endpoint`` is where the store should go."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._faults: defaultdict[str, deque[LineFault]] = defaultdict(deque)
        self._ended = threading.Event()
        self.requests: Counter[str] = Counter()
        self._server = _server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        if kind is None and any(self._faults.values()):
            raise AssertionError(f"faults that never happened: {dict(self._faults)}")

    def plan(self, method: str, *faults: LineFault) -> None:
        """Let these happen to the next requests of the method, one each."""
        with self._lock:
            self._faults[method].extend(faults)

    def pass_on(self, client: socket.socket) -> None:
        """Serve one connection: one request, with its fault if one is due."""
        request = _receive_head(client)
        if request is None:
            return
        with self._lock:
            self.requests[request.method] += 1
            waiting = self._faults[request.method]
            fault = waiting.popleft() if waiting else None
        match fault.trouble if fault else None:
            case Trouble.STALL:
                self._wait_for_the_client_to_go(client)
            case Trouble.REFUSE if fault:
                self._read_body(client, request, 0.0)
                client.sendall(_refusal(fault))
            case trouble:
                body = self._read_body(client, request, fault.bytes_per_second if fault else 0.0)
                reply = self._ask(request, body)
                if trouble is Trouble.CUT_REPLY:
                    head, gap, answer = reply.partition(b"\r\n\r\n")
                    reply = head + gap + answer[: len(answer) // 2]
                if trouble is not Trouble.LOSE_REPLY:
                    client.sendall(reply)

    def _read_body(self, client: socket.socket, request: _Request, speed: float) -> bytes:
        body = bytearray(request.begun)
        while len(body) < request.length:
            piece = client.recv(min(_PIECE, request.length - len(body)))
            if not piece:
                raise ConnectionError("the client went away")
            body += piece
            if speed:
                self._ended.wait(len(piece) / speed)
        return bytes(body)

    def _ask(self, request: _Request, body: bytes) -> bytes:
        with socket.create_connection(self._upstream, timeout=30) as server:
            server.sendall(request.head + b"Connection: close\r\n\r\n" + body)
            pieces = []
            while piece := server.recv(_PIECE):
                pieces.append(piece)
            return b"".join(pieces)

    def _wait_for_the_client_to_go(self, client: socket.socket) -> None:
        client.settimeout(0.05)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                if not client.recv(1):
                    return
                self._ended.wait(0.05)  # it is still sending, and nobody reads


def _server(proxy: FaultProxy) -> socketserver.ThreadingTCPServer:
    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # clients that give up are what this is for
                proxy.pass_on(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    return Server(("127.0.0.1", 0), Connection)


def _receive_head(client: socket.socket) -> _Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(_PIECE)
        if not piece:
            return None
        received += piece
    head, _, begun = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    length = int(headers.get(b"content-length", b"0"))
    return _Request(first.split(b" ")[0].decode(), b"\r\n".join([first, *kept]) + b"\r\n", length, begun)


def _refusal(fault: LineFault) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{fault.word}</Code></Error>".encode()
    head = f"HTTP/1.1 {fault.status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
