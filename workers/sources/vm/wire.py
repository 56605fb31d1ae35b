"""A stream socket on which nothing is awaited for ever.

Rule of the file: every wait has an end; whatever goes wrong is an ``OSError``.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import Self

import msgspec


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a server listens: the path of a Unix socket, or host and port."""

    unix: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.unix or f"{self.host}:{self.port}"


class Wire:
    """Exact reads and whole writes. ``patience`` (seconds) is how long one of them may take, however it trickles."""

    def __init__(self, connected: socket.socket, *, patience: float) -> None:
        self._socket = connected
        self._patience = patience
        connected.settimeout(patience)

    @classmethod
    def connect(cls, address: Address, *, patience: float) -> Self:
        """Connect; OSError when nobody takes the call in time."""
        if address.unix:
            dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                dialled.settimeout(patience)
                dialled.connect(address.unix)
            except BaseException:
                dialled.close()
                raise
        else:
            dialled = socket.create_connection((address.host, address.port), timeout=patience)
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(dialled, patience=patience)

    def wrap(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Go on under TLS; OSError when the other side is not who it must be."""
        self._socket = context.wrap_socket(self._socket, server_hostname=server_name)

    def send(self, *parts: bytes | memoryview) -> None:
        """Send all of it."""
        self._socket.settimeout(self._patience)
        self._socket.sendall(b"".join(parts))

    def receive(self, size: int) -> bytearray:
        """Return exactly so many bytes."""
        taken = bytearray(size)
        self.receive_into(memoryview(taken))
        return taken

    def receive_into(self, view: memoryview) -> None:
        """Fill the view; ``ConnectionError`` when the other side ends before."""
        until = time.monotonic() + self._patience
        self._socket.settimeout(self._patience)
        while len(view):
            got = self._socket.recv_into(view)
            if not got:
                raise ConnectionError("the server has ended the connection")
            view = view[got:]
            if len(view):
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the server is too slow")
                self._socket.settimeout(left)

    def receive_some(self, most: int, *, within: float) -> bytes:
        """Return what has come, waiting so many seconds at most; nothing when the other side has ended."""
        self._socket.settimeout(max(within, 0.001))
        return self._socket.recv(most)

    def peer_uid(self) -> int | None:
        """Return who runs the server at a Unix socket, by the user of its process where that can be seen."""
        if self._socket.family != socket.AF_UNIX:
            return None
        pid = int.from_bytes(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
        try:
            return os.stat(f"/proc/{pid}").st_uid
        except OSError:
            return None

    def close(self) -> None:
        """Let go. Idempotent."""
        self._socket.close()
