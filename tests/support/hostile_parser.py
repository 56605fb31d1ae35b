"""A process that says what no honest reader of file systems says: ``python -m tests.support.hostile_parser MODE FD …``.

It knows the protocol and has every right that the tests have: what is tested is who listens to it.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time

import msgspec

from workers.disks.file_system import Node, Piece
from workers.disks.messages import (
    AreaInfo,
    Areas,
    Ask,
    Begin,
    Content,
    Data,
    List,
    Look,
    Need,
    Nodes,
    Notes,
    Pieces,
    Read,
    Steps,
    receive_frame,
    send_frame,
)

FILE, FOLDER, LINK = 1, 2, 3
_asks = msgspec.msgpack.Decoder(Ask)


def node(number: int, kind: int = FILE, **changes: object) -> Node:
    return msgspec.structs.replace(Node(number, kind, 0o755, 0, 0, 10 if kind == FILE else 0, 5, 5), **changes)


ROOT = node(2, FOLDER)
LISTS: dict[str, list[tuple[bytes, Node]]] = {
    "slash": [(b"../../etc/passwd", node(3))],
    "dots": [(b"..", node(3)), (b"good", node(4))],
    "zero": [(b"a\0b", node(3))],
    "twice": [(b"a", node(3)), (b"a", node(4))],
    "circle": [(b"again", node(2, FOLDER))],
    "deep": [(b"d", node(0, FOLDER))],
    "size": [(b"a", node(3, size=-5))],
    "kind": [(b"a", node(3, kind=99))],
    "mode": [(b"a", node(3, mode=0o170644))],
    "target": [(b"a", node(3, LINK))],
    "xattr": [(b"a", node(3, xattrs=((b"nonsense", b"v"),)))],
    "long": [(b"n" * 5000, node(3))],
    "where-outside": [(b"a", node(3, where=[Piece(0, 1 << 40, 10)]))],
    "where-short": [(b"a", node(3, where=[Piece(0, 0, 5)]))],
}
PIECES = {
    "outside": [Piece(0, 1 << 40, 10)],
    "no-disk": [Piece(7, 0, 10)],
    "too-much": [Piece(0, 0, 1000)],
    "too-little": [Piece(0, 0, 5)],
    "negative": [Piece(0, -10, 10)],
}


class Hostile:
    """One process of one mode."""

    def __init__(self, mode: str, line: socket.socket) -> None:
        self._mode, self._line, self._count = mode, line, 2

    def serve(self) -> None:
        while (frame := receive_frame(self._line)) is not None:
            ask = _asks.decode(frame)
            if not isinstance(ask, Begin):
                self._answer(ask)

    def _answer(self, ask: object) -> None:
        match ask:
            case Look():
                area = AreaInfo(0, "p1", "ext", "", 1 << 20, "")
                self._say(Areas([area, area] if self._mode == "areas" else [area]))
            case Notes():
                self._say(Notes(0, []))
            case Steps():
                self._say(Nodes([(b"", ROOT), *((name, node(9)) for name in ask.names)], [], last=True))
            case List():
                self._list()
            case Content():
                self._say(Data(b"") if self._mode == "read" else Pieces(PIECES.get(self._mode, []), last=True))
            case Read():
                self._say(Data(b"x" * (ask.length + 1)))

    def _list(self) -> None:
        mode = self._mode
        if mode in LISTS:
            found = LISTS[mode]
            if mode == "deep":
                self._count += 1
                found = [(b"d", node(self._count, FOLDER))]
            self._say(Nodes(found, [], last=True))
        elif mode == "endless":
            while True:
                self._count += 1
                self._say(Nodes([(b"%d" % self._count, node(self._count)) for _ in range(1)] * 500, [], last=False))
        else:
            self._misbehave(mode)

    def _misbehave(self, mode: str) -> None:
        if mode == "silent":
            time.sleep(3600)
        elif mode == "thinking":
            while True:
                self._say(Need(0, 0, 16))
                receive_frame(self._line)
        elif mode == "spinning":
            while True:
                pass
        elif mode == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif mode == "exit":
            os._exit(3)
        elif mode == "huge":
            self._line.sendall(struct.pack("<I", 0xFFFFFFFF))
            time.sleep(3600)
        elif mode == "garbage":
            send_frame(self._line, b"\xff\x00nonsense")
            time.sleep(3600)
        elif mode == "other":
            self._say(Data(b"what?"))
        elif mode == "trickle":
            for byte in struct.pack("<I", 1 << 20):
                self._line.sendall(bytes([byte]))
            while True:
                self._line.sendall(b"x")
                time.sleep(0.05)
        elif mode == "greedy":
            self._say(Need(0, 0, 1 << 30))
            time.sleep(3600)
        elif mode == "backwards":
            self._say(Need(0, -4096, 4096))
            time.sleep(3600)

    def _say(self, answer: object) -> None:
        send_frame(self._line, msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    Hostile(sys.argv[1], socket.socket(fileno=int(sys.argv[2]))).serve()
