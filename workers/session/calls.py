"""HTTP calls of a worker to its tower: connections that are kept, and nothing more.

Rule of the file: a call is sent once. Whether a connection that rested still lives is asked of its socket, not of the
tower: a verb must not be said twice because nobody knows whether it was heard.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import httpx

FAILURES = (OSError, HTTPException)
"""What a call raises when there is no answer, or none that is HTTP."""


class Caller:
    """POSTs to paths below ``url`` (http or https) with fixed headers. Safe to use from several threads.

    ``connect`` and ``timeout`` are seconds: for a new connection, and for every wait for an answer.
    """

    def __init__(self, url: str, headers: dict[str, str], *, timeout: float, connect: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._base = parts.path.rstrip("/")
        self._tls = httpx.create_ssl_context(trust_env=False) if parts.scheme == "https" else None
        self._headers = headers
        self._timeout, self._connect = timeout, connect
        self._resting: deque[HTTPConnection] = deque()
        self._closed = False

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and body of the answer; raises one of ``FAILURES``."""
        connection = self._rested() or self._new()
        try:
            connection.request("POST", self._base + path, body, self._headers)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close or self._closed:
            connection.close()
        else:
            self._resting.append(connection)
        return response.status, content

    def close(self) -> None:
        """Close what rests; a call under way closes its connection itself."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._resting.pop().close()

    def _rested(self) -> HTTPConnection | None:
        """Return the connection that was used last, if it lives: one that the other side closed can be read from."""
        while True:
            try:
                connection = self._resting.pop()
            except IndexError:
                return None
            if isinstance(connection.sock, socket.socket) and not _is_readable(connection.sock):
                return connection
            connection.close()

    def _new(self) -> HTTPConnection:
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=self._connect)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=self._connect, context=self._tls)
        connection.connect()
        connection.sock.settimeout(self._timeout)
        return connection


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
