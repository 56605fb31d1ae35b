"""One authenticated connection to one share: requests go out as they come, replies are taken by their number.

There is no thread behind it and nothing that waits for ever: whoever wants a reply reads from the socket, with a time
limit, and keeps what belongs to others. Any number of requests may be under way; the credits that the server grants
say how many it takes.

Rule of the file: framing, numbers and credits. ``LineLost`` is everything after which the connection is of no use; what
the server says about a node is a status of the reply.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared.waiting import readable
from workers.sources.shares.lines import LineLost
from workers.sources.smb import status as statuses
from workers.sources.smb.crypt import SPARE, TRANSFORM, Cipher, Forged, SessionKeys, Signer
from workers.sources.smb.messages import CREDIT, HEADER_SIZE, Request

__all__ = ["LineLost", "Reply", "Terms", "Wire"]

_HEADER: Final = struct.Struct("<4sHHIHHIIQIIQ16s")
_MAGIC: Final = b"\xfeSMB"
_REPLY, _ASYNC, _RELATED, _SIGNED = 1, 2, 4, 8
_UNASKED = 0xFFFFFFFFFFFFFFFF
_ENOUGH = 1024
"""Credits that we ask for: 64 MiB under way."""
_MOST = 0xFFFFFF
_LONG = 10
"""How many times as long a server may take for what it has said it is working on."""


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    message: memoryview
    """The header and the body."""

    def expect(self, *also: int) -> memoryview:
        """Return the message; raise ``Refused`` unless its status is a success, or one of these."""
        if self.status == statuses.OK or self.status in also:
            return self.message
        raise statuses.Refused(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a handshake ended with."""

    keys: SessionKeys
    tree_id: int
    next_id: int
    credits: int
    most_read: int
    most_write: int


class Wire:
    """Used by one thread at a time. ``patience`` is for how long the server may say nothing, in seconds."""

    def __init__(self, connection: socket.socket, terms: Terms, *, patience: float) -> None:
        self._socket = connection
        connection.settimeout(patience)
        self._patience = patience
        self._session, self._tree = terms.keys.session_id, terms.tree_id
        self._signer = Signer(terms.keys)
        self._cipher = Cipher(terms.keys) if terms.keys.cipher else None
        self._next, self._credits = terms.next_id, terms.credits
        self._under_way: set[int] = set()
        self._forgotten: set[int] = set()
        self._slow: set[int] = set()
        self._replies: dict[int, Reply] = {}
        self._room = memoryview(b"")
        # A server that grants few credits is asked for less at once, or it could never be asked.
        room = max(1, terms.credits // 2) * CREDIT
        self.most_read = min(terms.most_read, 1 << 20, room)
        self.most_write = min(terms.most_write, 1 << 20, room)
        self.lost = False

    def send(self, *requests: Request) -> list[int]:
        """Send requests, several as one compound, and return their numbers."""
        charge = sum(request.charge for request in requests)
        while self._credits < charge:
            if not self._under_way:
                raise self._lose("the server grants too few credits")
            self._take()
        numbers, message = self._packed(requests)
        data = bytes(message) if self._cipher is None else self._cipher.close(bytes(message))
        try:
            self._socket.sendall(len(data).to_bytes(4, "big") + data)
        except OSError as error:
            raise self._lose(_why(error, self._patience)) from error
        self._under_way.update(numbers)
        return numbers

    def receive(self, number: int) -> Reply:
        """Wait for the reply to a request. Every reply is given once."""
        while number not in self._replies:
            self._take()
        return self._replies.pop(number)

    def ask(self, *requests: Request) -> list[Reply]:
        """Send requests and wait for all replies."""
        return [self.receive(number) for number in self.send(*requests)]

    def ask_apart(self, *requests: Request) -> list[Reply]:
        """Send requests that have nothing to do with each other and wait for all replies."""
        numbers = [self.send(request)[0] for request in requests]
        return [self.receive(number) for number in numbers]

    def forget(self, numbers: Sequence[int]) -> None:
        """Nobody wants the replies to these requests."""
        for number in numbers:
            if self._replies.pop(number, None) is None and number in self._under_way:
                self._forgotten.add(number)

    def close(self) -> None:
        """Hang up. The server closes what was open."""
        self.lost = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _packed(self, requests: Sequence[Request]) -> tuple[list[int], bytearray]:
        numbers, message, last = [], bytearray(), len(requests) - 1
        for place, request in enumerate(requests):
            charge, number = request.charge, self._next
            self._next += charge
            self._credits -= charge
            wanted = charge + max(0, _ENOUGH - self._credits) // len(requests)
            flags = (_RELATED if place else 0) | (0 if self._cipher else _SIGNED)
            size = HEADER_SIZE + len(request.body)
            step = 0 if place == last else -(-size // 8) * 8
            one = bytearray(
                _HEADER.pack(
                    _MAGIC,
                    64,
                    charge,
                    0,
                    request.command,
                    min(wanted, _ENOUGH),
                    flags,
                    step,
                    number,
                    0,
                    self._tree,
                    self._session,
                    b"",
                )
            )
            one += request.body
            one += bytes(max(0, step - size))
            if self._cipher is None:
                one[48:64] = self._signer.sign(one, number)
            message += one
            numbers.append(number)
        return numbers, message

    def _take(self) -> None:
        """Read one frame and keep the replies in it."""
        try:
            self._await_frame()
            size = int.from_bytes(self._exactly(memoryview(bytearray(4))), "big")
            if not HEADER_SIZE <= size <= _MOST:
                raise Forged(f"a reply of {size} bytes")
            self._split(self._plain(size) if self._cipher is None else self._opened(self._cipher, size))
        except OSError as error:
            raise self._lose(_why(error, self._patience)) from error
        except (Forged, struct.error) as error:
            raise self._lose(str(error)) from error

    def _plain(self, size: int) -> memoryview:
        frame = self._exactly(memoryview(bytearray(size)))
        if bytes(frame[:4]) == TRANSFORM:
            raise Forged("an encrypted reply, and encryption was not agreed on")
        return frame

    def _opened(self, cipher: Cipher, size: int) -> memoryview:
        if len(self._room) < size + SPARE:
            self._room = memoryview(bytearray(size + SPARE))  # one for all frames: what they say is copied anyway
        self._exactly(self._room[:size])
        return cipher.open(self._room[: size + SPARE])

    def _await_frame(self) -> None:
        """Wait for the next frame: longer where the server has said that something takes its time (a recall)."""
        waited = 0.0
        while not readable(self._socket.fileno(), seconds=self._patience):
            waited += self._patience
            if not self._slow or waited >= _LONG * self._patience:
                raise TimeoutError

    def _split(self, frame: memoryview) -> None:
        while len(frame) >= HEADER_SIZE:
            magic, _, _, status, _, granted, flags, step, number, _, _, _, _ = _HEADER.unpack_from(frame)
            if magic != _MAGIC or step % 8 or step > len(frame):
                raise Forged("a reply that is no SMB message")
            message = frame[: step or len(frame)]
            if number != _UNASKED:
                self._keep(number, status, flags, message, granted)
            if not step:
                return
            frame = frame[step:]

    def _keep(self, number: int, status: int, flags: int, message: memoryview, granted: int) -> None:
        if number not in self._under_way or not flags & _REPLY:
            raise Forged("a reply that nobody has asked for")
        pending = status == statuses.PENDING and bool(flags & _ASYNC)
        if self._cipher is None and not pending:
            if not flags & _SIGNED:
                raise Forged("a reply of the server is not signed as it must be")
            self._signer.check(message, number)
        self._credits += granted
        if pending:
            self._slow.add(number)
            return
        self._under_way.discard(number)
        self._slow.discard(number)
        if number in self._forgotten:
            self._forgotten.discard(number)
        elif status in statuses.LOST:
            raise self._lose(f"the server has closed the session or the share ({statuses.shown(status)})")
        else:
            self._replies[number] = Reply(status, message)

    def _exactly(self, buffer: memoryview) -> memoryview:
        done = 0
        while done < len(buffer):
            got = self._socket.recv_into(buffer[done:])
            if not got:
                raise ConnectionResetError("the server hung up")
            done += got
        return buffer

    def _lose(self, why: str) -> LineLost:
        self.close()
        return LineLost(why)


def _why(error: OSError, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"the server said nothing for {patience:.0f} s"
    return str(error) or type(error).__name__
