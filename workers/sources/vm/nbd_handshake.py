"""The beginning of an NBD connection: fixed newstyle, TLS, structured replies, meta contexts, ``GO``.

After https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.

Rule of the file: what a server offers is taken only where it fits what was asked, and of a bounded size.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from workers.sources.vm.wire import Wire

_NBD_MAGIC: Final = 0x4E42444D41474943
_OPTION_MAGIC: Final = 0x49484156454F5054
_REPLY_MAGIC: Final = 0x0003E889045565A9

_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_STARTTLS, _GO, _STRUCTURED, _SET_CONTEXT = 5, 7, 8, 10
_ACK, _INFO, _CONTEXT = 1, 3, 4
_ERROR: Final = 1 << 31
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_MOST_REPLY: Final = 64 * 1024
_MOST_REPLIES: Final = 1000
_MOST_SIZE: Final = 1 << 62
_ERRORS: Final = {
    _ERROR + 1: "it does not know the option",
    _ERROR + 2: "its policy forbids it",
    _ERROR + 3: "it calls the request invalid",
    _ERROR + 4: "its platform cannot do that",
    _ERROR + 5: "it wants TLS",
    _ERROR + 6: "there is no such export",
    _ERROR + 7: "it is going down",
    _ERROR + 8: "it wants block sizes to be negotiated",
}


class NbdError(OSError):
    """The server refuses, fails, or does not speak the protocol as it must."""


@dataclass(slots=True)
class Export:
    """What was agreed on. ``contexts`` has the names of meta contexts by their number; sizes are bytes."""

    size: int = -1
    flags: int = 0
    least: int = 1
    most: int = 32 * 1024 * 1024
    contexts: dict[int, str] = field(default_factory=dict)


def negotiate(
    wire: Wire, name: str, *, contexts: Sequence[str], tls: ssl.SSLContext | None, server_name: str | None
) -> Export:
    """Come to an agreement about the export of this name. Raises ``NbdError``, also when a context is not to be had."""
    greeting = struct.unpack(">QQH", wire.receive(18))
    if greeting[:2] != (_NBD_MAGIC, _OPTION_MAGIC) or not greeting[2] & _FIXED_NEWSTYLE:
        raise NbdError("this is no NBD server of the fixed newstyle")
    wire.send(struct.pack(">I", greeting[2] & (_FIXED_NEWSTYLE | _NO_ZEROES)))
    if tls is not None:
        _simple(wire, _STARTTLS, "TLS")
        wire.wrap(tls, server_name)
    _simple(wire, _STRUCTURED, "structured replies")
    export = Export()
    if contexts:
        _agree_on_contexts(wire, name, contexts, export)
    _go(wire, name, export)
    return export


def _agree_on_contexts(wire: Wire, name: str, contexts: Sequence[str], export: Export) -> None:
    queries = b"".join(_counted(context) for context in contexts)
    _ask(wire, _SET_CONTEXT, _counted(name) + struct.pack(">I", len(contexts)) + queries)
    for _ in range(_MOST_REPLIES):
        kind, data = _reply(wire, _SET_CONTEXT, "meta contexts")
        if kind == _ACK:
            break
        if kind != _CONTEXT or len(data) < 4:
            raise NbdError(f"an answer of kind {kind} about meta contexts")
        export.contexts[int.from_bytes(data[:4], "big")] = _text(data[4:])
    missing = set(contexts) - set(export.contexts.values())
    if missing:
        raise NbdError(f"the server has no {', '.join(sorted(missing))}")
    if len(export.contexts) != len(set(contexts)):
        raise NbdError("the server gives other meta contexts than were asked for")


def _go(wire: Wire, name: str, export: Export) -> None:
    _ask(wire, _GO, _counted(name) + struct.pack(">HH", 1, _INFO_BLOCK_SIZE))
    for _ in range(_MOST_REPLIES):
        kind, data = _reply(wire, _GO, f"the export {name!r}")
        if kind == _ACK:
            break
        if kind != _INFO or len(data) < 2:
            raise NbdError(f"an answer of kind {kind} about the export")
        about = int.from_bytes(data[:2], "big")
        if about == _INFO_EXPORT and len(data) == 12:
            export.size, export.flags = struct.unpack(">QH", data[2:])
        elif about == _INFO_BLOCK_SIZE and len(data) == 14:
            export.least, _, export.most = struct.unpack(">III", data[2:])
    if not 0 <= export.size <= _MOST_SIZE:
        raise NbdError("the server does not say how large the export is")
    if not export.least or export.least > export.most or export.least & (export.least - 1):
        raise NbdError(f"block sizes of {export.least} to {export.most} bytes make no sense")


def _simple(wire: Wire, option: int, what: str) -> None:
    _ask(wire, option, b"")
    kind, _ = _reply(wire, option, what)
    if kind != _ACK:
        raise NbdError(f"an answer of kind {kind} about {what}")


def _ask(wire: Wire, option: int, data: bytes) -> None:
    wire.send(struct.pack(">QII", _OPTION_MAGIC, option, len(data)), data)


def _reply(wire: Wire, option: int, what: str) -> tuple[int, bytes]:
    magic, about, kind, size = struct.unpack(">QIII", wire.receive(20))
    if (magic, about) != (_REPLY_MAGIC, option) or size > _MOST_REPLY:
        raise NbdError("the server does not answer what it was asked")
    data = bytes(wire.receive(size))
    if kind & _ERROR:
        said = _text(data[:200])
        why = _ERRORS.get(kind, f"error {kind - _ERROR}")
        raise NbdError(f"the server refuses {what}: {why}" + (f" ({said})" if said else ""))
    return kind, data


def _counted(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
