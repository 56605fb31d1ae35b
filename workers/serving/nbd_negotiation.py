"""The first part of an NBD connection: which disk, and what client and server can do.

Rule of the file: everything a client says is measured before it is believed; what it does not know is refused politely,
what breaks the protocol ends the connection.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

from workers.serving import nbd_wire as nbd
from workers.serving.exports import Export, Exports
from workers.serving.nbd_wire import Gone, Wire

SECONDS = 30.0
"""How long all of it may take."""

_MOST_OPTIONS = 128
_PREFERRED = 4096


@dataclass(frozen=True, slots=True)
class Chosen:
    """What came out: the disk, and whether replies are structured and the map of holes may be asked for."""

    export: Export
    structured: bool
    allocation: bool


class _Misunderstood(Exception):
    """The data of an option do not fit together."""


def negotiate(wire: Wire, exports: Exports, tls: ssl.SSLContext | None) -> Chosen | None:
    """Come to terms with a client; None when it has said that it wants no more. Raises ``Gone``.

    With ``tls`` nothing but STARTTLS is talked about before the line is encrypted.
    """
    wire.limit(SECONDS)
    chosen = _Negotiation(wire, exports, tls).run()
    wire.limit(None)
    return chosen


class _Negotiation:
    def __init__(self, wire: Wire, exports: Exports, tls: ssl.SSLContext | None) -> None:
        self._wire, self._exports, self._tls = wire, exports, tls
        self._no_zeroes = False
        self._encrypted = False
        self._structured = False
        self._mapped: Export | None = None  # of which disk the client wants the map
        self._options: dict[int, Callable[[int, bytes], Chosen | None]] = {
            nbd.OPT_LIST: self._list,
            nbd.OPT_INFO: self._describe,
            nbd.OPT_GO: self._describe,
            nbd.OPT_STRUCTURED_REPLY: self._structure,
            nbd.OPT_LIST_META_CONTEXT: self._contexts,
            nbd.OPT_SET_META_CONTEXT: self._contexts,
        }

    def run(self) -> Chosen | None:
        greeting = struct.pack(">QQH", nbd.INIT_MAGIC, nbd.OPTION_MAGIC, nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES)
        self._wire.send(greeting)
        (flags,) = struct.unpack(">I", self._wire.receive(4))
        if flags & ~(nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES):
            raise Gone("the client wants something that this server does not know")
        self._no_zeroes = bool(flags & nbd.NO_ZEROES)
        for _ in range(_MOST_OPTIONS):
            magic, option, length = struct.unpack(">QII", self._wire.receive(16))
            if magic != nbd.OPTION_MAGIC:
                raise Gone("no option where one must be")
            if option == nbd.OPT_ABORT:
                self._reply(option, nbd.REP_ACK)
                return None
            chosen = self._take(option, length)
            if chosen is not None:
                return chosen
        raise Gone("too many options")

    def _take(self, option: int, length: int) -> Chosen | None:
        if length > nbd.MOST_OPTION:
            if length > nbd.MOST:
                raise Gone("an option is too long")
            self._wire.drop(length)
            self._reply(option, nbd.REP_ERR_TOO_BIG)
            return None
        data = self._wire.receive(length)
        if option == nbd.OPT_STARTTLS:
            self._start_tls(data)
        elif self._tls is not None:
            if option == nbd.OPT_EXPORT_NAME:  # to this one there is no answer that says no
                raise Gone("the client does not want TLS")
            self._reply(option, nbd.REP_ERR_TLS_REQD, b"this server speaks TLS only")
        elif option == nbd.OPT_EXPORT_NAME:
            return self._export_name(data)
        elif option not in self._options:
            self._reply(option, nbd.REP_ERR_UNSUP)
        else:
            try:
                return self._options[option](option, data)
            except (_Misunderstood, struct.error, UnicodeDecodeError):
                self._reply(option, nbd.REP_ERR_INVALID)
        return None

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._wire.send(struct.pack(">QIII", nbd.OPTION_REPLY_MAGIC, option, kind, len(data)), data)

    def _start_tls(self, data: bytes) -> None:
        if data or self._encrypted:
            self._reply(nbd.OPT_STARTTLS, nbd.REP_ERR_INVALID)
        elif self._tls is None:
            self._reply(nbd.OPT_STARTTLS, nbd.REP_ERR_UNSUP)
        else:
            self._reply(nbd.OPT_STARTTLS, nbd.REP_ACK)
            self._wire.encrypt(self._tls)
            # Before this nothing but TLS was talked about, so there is nothing to forget.
            self._tls, self._encrypted = None, True

    def _export_name(self, data: bytes) -> Chosen:
        """Answer the oldest way of asking for a disk, which knows no errors."""
        export = self._exports.find(data.decode("utf-8", "replace"))
        if export is None:
            raise Gone("the client asks for a disk that is not there")
        padding = b"" if self._no_zeroes else bytes(124)
        self._wire.send(struct.pack(">QH", export.image.size, self._flags()) + padding)
        return self._chosen(export)

    def _list(self, option: int, data: bytes) -> None:
        if data:
            raise _Misunderstood
        for export in self._exports:
            name = export.name.encode()
            self._reply(option, nbd.REP_SERVER, struct.pack(">I", len(name)) + name + export.description.encode())
        self._reply(option, nbd.REP_ACK)

    def _structure(self, option: int, data: bytes) -> None:
        if data:
            raise _Misunderstood
        self._structured = True
        self._reply(option, nbd.REP_ACK)

    def _describe(self, option: int, data: bytes) -> Chosen | None:
        name, at = _string(data, 0)
        (count,) = struct.unpack_from(">H", data, at)
        asked = struct.unpack(f">{count}H", data[at + 2 :])
        export = self._exports.find(name)
        if export is None:
            self._reply(option, nbd.REP_ERR_UNKNOWN, b"no such disk in this recovery point")
            return None
        self._inform(option, struct.pack(">HQH", nbd.INFO_EXPORT, export.image.size, self._flags()))
        self._inform(option, struct.pack(">HIII", nbd.INFO_BLOCK_SIZE, 1, _PREFERRED, nbd.MOST))
        for number, text in ((nbd.INFO_NAME, export.name), (nbd.INFO_DESCRIPTION, export.description)):
            if number in asked:
                self._inform(option, struct.pack(">H", number) + text.encode())
        self._reply(option, nbd.REP_ACK)
        return self._chosen(export) if option == nbd.OPT_GO else None

    def _inform(self, option: int, data: bytes) -> None:
        self._reply(option, nbd.REP_INFO, data)

    def _contexts(self, option: int, data: bytes) -> None:
        name, at = _string(data, 0)
        (count,) = struct.unpack_from(">I", data, at)
        at += 4
        queries: set[str] = set()
        for _ in range(count):  # ends with the data: every query takes four bytes of them
            query, at = _string(data, at)
            queries.add(query)
        if at != len(data) or not self._structured:
            raise _Misunderstood
        export = self._exports.find(name)
        if option == nbd.OPT_SET_META_CONTEXT:
            self._mapped = None
        if export is None:
            self._reply(option, nbd.REP_ERR_UNKNOWN, b"no such disk in this recovery point")
            return
        listing = option == nbd.OPT_LIST_META_CONTEXT
        if nbd.ALLOCATION in queries or (listing and (not queries or "base:" in queries)):
            number = 0 if listing else nbd.ALLOCATION_ID
            self._reply(option, nbd.REP_META_CONTEXT, struct.pack(">I", number) + nbd.ALLOCATION.encode())
            if not listing:
                self._mapped = export
        self._reply(option, nbd.REP_ACK)

    def _chosen(self, export: Export) -> Chosen:
        return Chosen(export, self._structured, self._structured and self._mapped is export)

    def _flags(self) -> int:
        always = nbd.HAS_FLAGS | nbd.READ_ONLY | nbd.SEND_FLUSH | nbd.CAN_MULTI_CONN
        return always | nbd.SEND_DF if self._structured else always


def _string(data: bytes, at: int) -> tuple[str, int]:
    """Return the string that begins at an offset with its length, and the offset behind it."""
    (length,) = struct.unpack_from(">I", data, at)
    end = at + 4 + length
    if end > len(data):
        raise _Misunderstood
    return data[at + 4 : end].decode(), end
