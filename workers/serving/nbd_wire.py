"""The bytes of the NBD protocol: numbers, and a line on which nobody may stall.

The protocol is https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed newstyle, structured replies.

Rule of the file: sizes and times of what a peer may send are bounded here; what it means is said elsewhere.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress

INIT_MAGIC = 0x4E42444D41474943  # NBDMAGIC
OPTION_MAGIC = 0x49484156454F5054  # IHAVEOPT
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

FIXED_NEWSTYLE, NO_ZEROES = 1, 2  # flags of both sides' greetings

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT = 8, 9, 10

REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
REP_ERR_UNSUP, REP_ERR_INVALID, REP_ERR_TLS_REQD = 0x80000001, 0x80000003, 0x80000005
REP_ERR_UNKNOWN, REP_ERR_TOO_BIG = 0x80000006, 0x80000009

INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 1, 2, 3

HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_DF, CAN_MULTI_CONN = 1, 2, 4, 128, 256  # of an export

CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES, CMD_BLOCK_STATUS = 0, 1, 2, 3, 4, 6, 7
FLAG_FUA, FLAG_DF, FLAG_REQ_ONE = 1, 4, 8  # of requests

CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_BLOCK_STATUS, CHUNK_ERROR, CHUNK_ERROR_OFFSET = 0, 1, 2, 5, 0x8001, 0x8002
CHUNK_DONE = 1  # flag of the last chunk of a reply

STATE_HOLE, STATE_ZERO = 1, 2  # of base:allocation
ALLOCATION = "base:allocation"
ALLOCATION_ID = 1

EPERM, EIO, EINVAL, EOVERFLOW = 1, 5, 22, 75  # the protocol's own numbers

MOST = 32 * 1024 * 1024
"""The longest read or write: what clients may assume without asking."""
MOST_OPTION = 64 * 1024

_PART = 64 * 1024


class Gone(Exception):
    """The peer has ended, stalled, or does not speak the protocol: there is nobody to answer any more."""


class Wire:
    """A connection. ``patience`` is how many seconds one message may take. Used by one thread, but for ``cut``."""

    def __init__(self, connection: socket.socket, *, patience: float) -> None:
        self._socket = connection
        self._patience = patience
        self._deadline: float | None = None

    def limit(self, seconds: float | None) -> None:
        """Have everything from now on be over within so many seconds, together; None: no such limit any more."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def receive(self, count: int, *, begun: bool = True) -> bytes:
        """Return exactly so many bytes. With ``begun`` false the first of them may take for ever: a client may idle.

        Raises ``Gone``.
        """
        got = bytearray(count)
        view = memoryview(got)
        ends = time.monotonic() + self._patience
        while view:
            try:
                self._socket.settimeout(self._left(ends) if begun else None)
                arrived = self._socket.recv_into(view)
            except OSError as error:
                raise Gone(str(error)) from error
            if not arrived:
                raise Gone("the peer has closed the connection")
            if not begun:
                begun, ends = True, time.monotonic() + self._patience
            view = view[arrived:]
        return bytes(got)

    def drop(self, count: int) -> None:
        """Receive so many bytes and forget them."""
        while count:
            part = min(count, _PART)
            self.receive(part)
            count -= part

    def send(self, *parts: bytes) -> None:
        """Send bytes. Raises ``Gone`` when the peer does not take them in time."""
        try:
            self._socket.settimeout(self._left(time.monotonic() + self._patience))
            # One packet for what is short; a copy of what is long would cost more than a second call.
            for part in parts if sum(map(len, parts)) > _PART else [b"".join(parts)]:
                self._socket.sendall(part)
        except OSError as error:
            raise Gone(str(error)) from error

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Go on in TLS. Nothing that came before is remembered: bytes are only taken when they are asked for."""
        try:
            self._socket.settimeout(self._left(time.monotonic() + self._patience))
            self._socket = context.wrap_socket(self._socket, server_side=True)
        except OSError as error:
            raise Gone(str(error)) from error

    def cut(self) -> None:
        """End the line from another thread: whoever waits on it finds the peer gone. The owner still closes it."""
        with suppress(OSError):  # it has ended already
            # The method of the plain socket: that of a TLS socket would change what its owner is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()

    def _left(self, ends: float) -> float:
        left = min(ends, self._deadline or ends) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the peer is too slow")
        return left
