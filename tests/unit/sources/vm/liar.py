"""An NBD server of a few lines that answers reads as a test wants it to."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from workers.sources.vm.wire import Address

SIZE = 1 << 20
DONE = 1


class Asked(NamedTuple):
    """A request."""

    command: int
    number: int
    offset: int
    length: int


Answer = Callable[[Asked], bytes]
"""Returns the bytes of the answer to a request."""


def chunk(kind: int, number: int, payload: bytes, flags: int = DONE) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, flags, kind, number, len(payload)) + payload


def data(number: int, offset: int, content: bytes, flags: int = DONE) -> bytes:
    return chunk(1, number, struct.pack(">Q", offset) + content, flags)


def extents(number: int, context: int, *pairs: tuple[int, int], flags: int = DONE) -> bytes:
    payload = struct.pack(">I", context) + b"".join(struct.pack(">II", *pair) for pair in pairs)
    return chunk(5, number, payload, flags)


@contextmanager
def lying(answer: Answer, *, size: int = SIZE) -> Iterator[Address]:
    """Serve one export at an address until the block ends."""
    with tempfile.TemporaryDirectory(prefix="nbd-") as folder:
        path = os.path.join(folder, "s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        open_ones: list[socket.socket] = [listener]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    open_ones.append(connection)
                    threading.Thread(target=_serve, args=(connection, answer, size), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield Address(unix=path)
        finally:
            for one in open_ones:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()


def _serve(connection: socket.socket, answer: Answer, size: int) -> None:
    with contextlib.suppress(OSError, struct.error):
        stream = connection.makefile("rb")
        connection.sendall(struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 3))
        stream.read(4)
        while True:
            _, option, length = struct.unpack(">QII", stream.read(16))
            stream.read(length)
            for kind, payload in _option_replies(option, size):
                head = struct.pack(">QIII", 0x3E889045565A9, option, kind, len(payload))
                connection.sendall(head + payload)
            if option == 7:
                break
        while True:
            _, _, command, number, offset, length = struct.unpack(">IHHQQI", stream.read(28))
            if command == 2:
                return
            connection.sendall(answer(Asked(command, number, offset, length)))


def _option_replies(option: int, size: int) -> list[tuple[int, bytes]]:
    if option == 7:
        return [(3, struct.pack(">HQH", 0, size, 1)), (1, b"")]
    if option == 10:
        return [(4, struct.pack(">I", 5) + b"base:allocation"), (1, b"")]
    return [(1, b"")]
