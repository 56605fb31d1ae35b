"""The program of the process without rights: ``python -m workers.disks.child FD PARENT [MEMORY]``.

Rule of the file: it gives everything up before it hears of any disk, and ends with its line.
"""

from __future__ import annotations

import codecs
import os
import socket
import sys

import msgspec

from shared.decoders import msgpack_decoder
from workers.disks import sandbox
from workers.disks.desk import Desk
from workers.disks.far_disk import FarDisk
from workers.disks.messages import Answer, Ask, Begin, Need, Trouble, receive_frame, send_frame

_asks = msgpack_decoder(Ask)
_answers = msgspec.msgpack.Encoder()


def main() -> None:
    """Shut the door, then answer until nobody asks any more."""
    line = socket.socket(fileno=int(sys.argv[1]))
    parent = int(sys.argv[2])
    sandbox.die_with(parent)
    _import_libraries()
    try:
        sandbox.shut(memory=int(sys.argv[3]) if len(sys.argv) > 3 else sandbox.MEMORY)
        sandbox.die_with(parent)  # once more: the kernel forgets it with a change of the user
    except OSError as error:
        reason = f"this machine does not let a process give up its rights ({error}), and disks are read by no other"
        _send(line, Trouble(reason, supported=False))
    else:
        serve(line)
    os._exit(0)  # there is nothing to clean up, and nothing that may do it


def serve(line: socket.socket) -> None:
    """Answer over the line until its end."""
    desk = Desk([])
    while (frame := receive_frame(line)) is not None:
        ask = _asks.decode(frame)
        if isinstance(ask, Begin):
            desk = Desk([FarDisk(number, size, _Fetch(line)) for number, size in enumerate(ask.sizes)])
            continue
        for answer in desk.answer(ask):
            _send(line, answer)


class _Fetch:
    """Gets bytes of disks over the line."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def __call__(self, disk: int, offset: int, length: int) -> bytes:
        _send(self._line, Need(disk, offset, length))
        data = receive_frame(self._line)
        if data is None:
            os._exit(0)
        return bytes(data)


def _send(line: socket.socket, answer: Answer) -> None:
    send_frame(line, _answers.encode(answer))


def _import_libraries() -> None:
    """Load what is needed from files while there still are files."""
    for encoding in ("utf-16-le", "cp437", "unicode_escape"):
        codecs.lookup(encoding)
    try:
        import pyfsntfs  # noqa: F401
    except ImportError:
        return


if __name__ == "__main__":
    main()
