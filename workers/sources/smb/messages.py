"""The bodies of the SMB messages that a backup and a restore need: packed and unpacked ([MS-SMB2] 2.2).

Rule of the file: one function per message each way, no I/O. Offsets in bodies count from the message's header, which is
64 bytes long. Times are FILETIMEs: 100 ns since 1601.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Final, NamedTuple, ParamSpec, TypeVar

from workers.sources.shares.lines import LineLost

HEADER_SIZE: Final = 64
RELATED: Final = b"\xff" * 16
"""As the handle of a request: the one that the CREATE of the same compound brings."""

CREATE, CLOSE, READ, WRITE, IOCTL, QUERY_DIRECTORY, QUERY_INFO, SET_INFO = 5, 6, 8, 9, 11, 14, 16, 17

FOR_BACKUP, IS_DIRECTORY, IS_FILE, IS_LINK = 0x4000, 0x1, 0x40, 0x200000
"""Options of CREATE: by the rights of a backup operator; a folder; no folder; the link itself."""

INFO_FILE, INFO_SECURITY = 1, 3
BASIC_INFORMATION, RENAME_INFORMATION, DISPOSITION_INFORMATION, END_OF_FILE = 4, 10, 13, 20
STREAM_INFORMATION, NETWORK_OPEN_INFORMATION = 22, 34
_ID_FULL_DIRECTORY = 38

FSCTL_ENUMERATE_SNAPSHOTS, FSCTL_SET_SPARSE = 0x144064, 0x900C4
FSCTL_QUERY_ALLOCATED_RANGES, FSCTL_GET_REPARSE_POINT = 0x940CF, 0x900A8

CREDIT: Final = 65536
"""Bytes that a credit pays for."""
_SHARE_ALL = 7
_MADE = 2
OPEN, MAKE, OPEN_OR_MAKE, OVERWRITE_OR_MAKE = 1, 2, 3, 5
"""Dispositions of CREATE."""


class Request(NamedTuple):
    """A message to send: its command, its body, and how many bytes go one way at most (it costs credits)."""

    command: int
    body: bytes
    cost: int = 0

    @property
    def charge(self) -> int:
        """Credits that it takes."""
        return max(1, -(-max(self.cost, len(self.body)) // CREDIT))


class Look(NamedTuple):
    """What the server says of an open node."""

    created: int
    written: int
    changed: int
    size: int
    attributes: int


class Created(NamedTuple):
    """An answer to CREATE: the handle, the node's number in its file system (0: not told), and a look at it."""

    handle: bytes
    node: int
    look: Look
    new: bool = False
    """Whether it was made by this."""


class Row(NamedTuple):
    """A line of a directory."""

    name: bytes
    look: Look
    node: int
    tag: int
    """Of a reparse point: which kind."""


_NAME: Final = struct.Struct("<HBBIQQIIIIIHHII")
_CREATED: Final = struct.Struct("<HBBIQQQQQQII16sII")
_CLOSED: Final = struct.Struct("<HHIQQQQQQI")
_ROW: Final = struct.Struct("<IIQQQQQQIIIIQ")
_BUFFER: Final = struct.Struct("<HHI")


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _sensible(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """Have a reply that cannot be read end the line: whoever says one such thing may say others."""

    @functools.wraps(read)
    def reading(*args: _P.args, **options: _P.kwargs) -> _R:
        try:
            return read(*args, **options)
        except (struct.error, ValueError) as error:
            raise LineLost(f"a reply of the server makes no sense: {error}") from error

    return reading


def encoded(name: bytes) -> bytes:
    """Return a name of a point as the protocol has it; names that are no UTF-8 cannot be on a share."""
    return name.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")


def decoded(name: bytes) -> bytes:
    """Return a name of the protocol as bytes of a point; halves of surrogate pairs stay what they are."""
    return name.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def create(
    path: bytes,
    *,
    access: int,
    options: int,
    disposition: int = OPEN,
    attributes: int = 0,
    share: int = _SHARE_ALL,
    moment: int = 0,
) -> Request:
    """Open a node, by its path in the share with ``/`` between names; ``moment`` is that of a previous version."""
    name = encoded(path.replace(b"/", b"\\"))
    contexts = [_context(b"QFid", b"")]
    if moment:
        contexts.insert(0, _context(b"TWrp", moment.to_bytes(8, "little")))
    padded = name.ljust(-(-max(len(name), 1) // 8) * 8, b"\0")
    listed = _chained(contexts)
    at = HEADER_SIZE + _NAME.size
    fixed = _NAME.pack(
        57, 0, 0, 2, 0, 0, access, attributes, share, disposition, options, at, len(name), at + len(padded), len(listed)
    )
    return Request(CREATE, fixed + padded + listed)


def _context(name: bytes, data: bytes) -> bytes:
    return struct.pack("<HHHHI", 16, len(name), 0, 24 if data else 0, len(data)) + name.ljust(8, b"\0") + data


def _chained(contexts: list[bytes]) -> bytes:
    chained = [struct.pack("<I", 4 + len(context)) + context for context in contexts[:-1]]
    return b"".join(chained) + struct.pack("<I", 0) + contexts[-1]


@_sensible
def created(message: memoryview) -> Created:
    """Read the answer to ``create``."""
    body = _CREATED.unpack_from(message, HEADER_SIZE)
    node, at, end = 0, body[13], body[13] + body[14]
    while at and at + 16 <= end:
        step, name_at, name_size, _, data_at, data_size = struct.unpack_from("<IHHHHI", message, at)
        if bytes(message[at + name_at : at + name_at + name_size]) == b"QFid" and data_size >= 8:
            (node,) = struct.unpack_from("<Q", message, at + data_at)
        at = at + step if step else 0
    return Created(body[12], node, Look(body[4], body[6], body[7], body[9], body[10]), body[3] == _MADE)


def close(handle: bytes, *, look: bool = False) -> Request:
    """Let go of a handle, and maybe have a last look."""
    return Request(CLOSE, struct.pack("<HHI16s", 24, int(look), 0, handle))


@_sensible
def closed(message: memoryview) -> Look:
    """Read the last look."""
    body = _CLOSED.unpack_from(message, HEADER_SIZE)
    return Look(body[3], body[5], body[6], body[8], body[9])


def read(handle: bytes, offset: int, size: int) -> Request:
    """Read up to ``size`` bytes."""
    body = struct.pack("<HBBIQ16sIIIHHB", 49, 0x50, 0, size, offset, handle, 0, 0, 0, 0, 0, 0)
    return Request(READ, body, size)


@_sensible
def data_read(message: memoryview) -> memoryview:
    """Return what was read."""
    _, at, _, size = struct.unpack_from("<HBBI", message, HEADER_SIZE)
    return message[at : at + size]


def write(handle: bytes, offset: int, data: bytes | memoryview) -> Request:
    """Write bytes."""
    fixed = struct.pack("<HHIQ16sIIHHI", 49, HEADER_SIZE + 48, len(data), offset, handle, 0, 0, 0, 0, 0)
    return Request(WRITE, b"".join((fixed, data)))


@_sensible
def written(message: memoryview) -> int:
    """Return how many bytes were."""
    (count,) = struct.unpack_from("<I", message, HEADER_SIZE + 4)
    return int(count)


def query_directory(handle: bytes, room: int) -> Request:
    """Go on with listing a directory, with so many bytes at once."""
    name = encoded(b"*")
    at = HEADER_SIZE + 32
    fixed = struct.pack("<HBBI16sHHI", 33, _ID_FULL_DIRECTORY, 0, 0, handle, at, len(name), room)
    return Request(QUERY_DIRECTORY, fixed + name, room)


@_sensible
def rows(message: memoryview) -> list[Row]:
    """Return the lines of a directory without ``.`` and ``..``."""
    listed = _buffer(message)
    found, at = [], 0
    while at < len(listed):
        step, _, born, _, wrote, changed, size, _, attributes, length, ea, _, node = _ROW.unpack_from(listed, at)
        name = decoded(bytes(listed[at + 80 : at + 80 + length]))
        if name not in (b".", b".."):
            found.append(Row(name, Look(born, wrote, changed, size, attributes), node, ea))
        if not step:
            break
        at += step
    return found


def query_info(handle: bytes, kind: int, which: int, *, room: int = CREDIT, additional: int = 0) -> Request:
    """Ask about an open node."""
    body = struct.pack("<HBBIHHIII16sB", 41, kind, which, room, 0, 0, 0, additional, 0, handle, 0)
    return Request(QUERY_INFO, body, room)


def _buffer(message: memoryview) -> memoryview:
    _, at, size = _BUFFER.unpack_from(message, HEADER_SIZE)
    return message[at : at + size]


@_sensible
def info(message: memoryview) -> bytes:
    """Return the answer to a question about a node as it came."""
    return bytes(_buffer(message))


@_sensible
def looked(message: memoryview) -> Look:
    """Read the answer to ``NETWORK_OPEN_INFORMATION``."""
    born, _, wrote, changed, _, size, attributes = struct.unpack_from("<QQQQQQI", _buffer(message))
    return Look(born, wrote, changed, size, attributes)


@_sensible
def streams(message: memoryview) -> list[tuple[bytes, int]]:
    """Return the named streams of a node, by name, with their sizes."""
    listed, found, at = _buffer(message), [], 0
    while at + 24 <= len(listed):
        step, length, size = struct.unpack_from("<IIQ", listed, at)
        name = decoded(bytes(listed[at + 24 : at + 24 + length]))
        bare = name.removeprefix(b":").removesuffix(b":$DATA")
        if name.endswith(b":$DATA") and bare:
            found.append((bare, size))
        if not step:
            break
        at += step
    return found


def set_info(handle: bytes, kind: int, which: int, data: bytes, *, additional: int = 0) -> Request:
    """Change something about an open node."""
    fixed = struct.pack("<HBBIHHI16s", 33, kind, which, len(data), HEADER_SIZE + 32, 0, additional, handle)
    return Request(SET_INFO, fixed + data)


def basic(*, created: int = 0, written: int = 0, attributes: int = 0) -> bytes:
    """Return a ``BASIC_INFORMATION`` to set: times as FILETIMEs; 0 leaves each as it is."""
    return struct.pack("<QQQQII", created, 0, written, 0, attributes, 0)


def renaming(path: bytes, *, replace: bool) -> bytes:
    """Return a ``RENAME_INFORMATION`` to set: the new path in the share."""
    name = encoded(path.replace(b"/", b"\\"))
    return struct.pack("<B7xQI", int(replace), 0, len(name)) + name


def ioctl(handle: bytes, code: int, data: bytes = b"", *, room: int = 0) -> Request:
    """Ask the file system itself."""
    at = HEADER_SIZE + 56
    fixed = struct.pack("<HHI16sIIIIIIII", 57, 0, code, handle, at, len(data), 0, at, 0, room, 1, 0)
    return Request(IOCTL, fixed + (data or b"\0"), max(len(data), room))


@_sensible
def told(message: memoryview) -> bytes:
    """Return the answer to ``ioctl``."""
    at, size = struct.unpack_from("<II", message, HEADER_SIZE + 32)
    return bytes(message[at : at + size])
