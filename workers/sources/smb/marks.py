"""Marks: what is compared between two backups where the server keeps no change time.

Windows and most filers move the change time of a node with everything about it. Samba shows the time of the last write
in its place, so that a new descriptor, attribute or stream leaves no trace in a listing. There the scan asks for these
of every node, many at a time, and a hash of them stands where the change time would: in the years 1970 to 1972, so
that it is never taken for a time that is too young to be trusted.

Rule of the file: the scan and the reading of a node must come to the same mark.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Iterable

from workers.sources.shares.listing import Rows
from workers.sources.shares.stats import FarStat
from workers.sources.smb import messages as smb
from workers.sources.smb.describing import Xattrs, described, open_request, questions
from workers.sources.smb.messages import Look, Row
from workers.sources.smb.nodes import INFO
from workers.sources.smb.setting import Setting
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire

_WINDOW = 48


def mark_of(look: Look, xattrs: Xattrs) -> int:
    """Return the mark of a node. Its creation time does not count: some servers show now one and now another."""
    digest = hashlib.blake2b(struct.pack("<QQI", look.written, look.changed, look.attributes), digest_size=7)
    for name, value in xattrs:
        if name != INFO:
            digest.update(struct.pack("<II", len(name), len(value)) + name + value)
    return int.from_bytes(digest.digest(), "little") + 1


def keeps_change_times(rows: Iterable[Row]) -> bool:
    """Tell whether a server shows change times of its own: nowhere else does one differ from the last write."""
    return any(row.look.changed != row.look.written for row in rows)


def marked_rows(wire: Wire, folder: bytes, rows: Rows, setting: Setting) -> Rows:
    """Return rows of a folder with marks. What cannot be asked about keeps what it has: reading will tell."""
    found: Rows = []
    under_way: deque[tuple[bytes, FarStat, list[int]]] = deque()
    for name, info in rows:
        path = folder + b"/" + name if folder else name
        options = smb.FOR_BACKUP | (smb.IS_LINK if info.st_gen else 0)
        numbers = wire.send(open_request(path, setting, options=options), *questions(setting), smb.close(smb.RELATED))
        under_way.append((name, info, numbers))
        if len(under_way) >= _WINDOW:
            found.append(_marked(wire, folder, setting, *under_way.popleft()))
    while under_way:
        found.append(_marked(wire, folder, setting, *under_way.popleft()))
    return found


def _marked(
    wire: Wire, folder: bytes, setting: Setting, name: bytes, info: FarStat, numbers: list[int]
) -> tuple[bytes, FarStat]:
    opening, security, listed, _ = [wire.receive(number) for number in numbers]
    path = folder + b"/" + name if folder else name
    try:
        look = smb.created(opening.expect()).look
        about = described(wire, path, setting, look, (security, listed))
    except Refused:
        return name, info
    return name, info._replace(st_ctime_ns=mark_of(look, about.xattrs))
