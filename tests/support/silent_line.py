"""A line that can fall silent without breaking: a proxy that swallows what it is given, and closes nothing.

Both ends go on believing in their connection, for the kernel acknowledges every byte: a box between that has forgotten
it, a host that hangs. Connections of the silence stay silent for ever; new ones work once it is over.

Rule of the file: it knows bytes and no protocol. Everything it opens it closes when it is left.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from shared.waiting import readable

_PIECE = 64 * 1024
_LOOK_EVERY = 0.1

Target = str | tuple[str, int]
"""Where a line leads: the path of a Unix socket, or host and port."""


class SilentLine:
    """Use as a context manager; ``port`` on 127.0.0.1 is where clients go. ``target`` may be changed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._silent = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._calls: list[threading.Event] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.swallowed = 0
        threading.Thread(target=self._accept, name="silent-line", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fall_silent(self) -> None:
        """Swallow everything from now on, on the connections that there are and on new ones."""
        with self._lock:
            self._silent.set()
            for deaf in self._calls:
                deaf.set()

    def speak(self) -> None:
        """Let new connections pass. Those of before stay silent: nobody remembers them."""
        self._silent.clear()

    def cut(self) -> None:
        """Break every connection, as a server does that dies."""
        with self._lock:
            for one in list(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the line and all that hangs on it."""
        self._ended.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                deaf = threading.Event()
                if self._silent.is_set():
                    deaf.set()
                self._calls.append(deaf)
                self._open.add(caller)
                self.connections += 1
            threading.Thread(target=self._connect, args=(caller, deaf), name="silent-call", daemon=True).start()

    def _connect(self, caller: socket.socket, deaf: threading.Event) -> None:
        if deaf.is_set():
            self._carry(caller, None, deaf)
            return
        try:
            callee = _connected(self.target)
        except OSError:
            self._let_go(caller)
            return
        with self._lock:
            self._open.add(callee)
        back = threading.Thread(target=self._carry, args=(callee, caller, deaf), name="silent-back", daemon=True)
        back.start()
        self._carry(caller, callee, deaf)

    def _carry(self, source: socket.socket, sink: socket.socket | None, deaf: threading.Event) -> None:
        try:
            while not self._ended.is_set():
                # Never by timeouts of the sockets: two threads use each of them, and would change them for each other.
                if not readable(source.fileno(), seconds=_LOOK_EVERY):
                    continue
                piece = source.recv(_PIECE)
                if not piece:
                    break
                if deaf.is_set():
                    self.swallowed += len(piece)
                elif sink is not None:
                    sink.sendall(piece)
        except (OSError, ValueError):  # closed under our hands
            pass
        self._let_go(source)
        if sink is not None and not deaf.is_set():  # of a silent line not even the end is told
            self._let_go(sink)

    def _let_go(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _connected(target: Target) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target, timeout=10)
    callee = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    callee.connect(target)
    return callee
