"""Writes one file of a point to a share, under a hidden name first, and dresses it and folders with what they had.

A file is marked for deletion for as long as it is written, so that a restore that is killed leaves nothing of it: the
server deletes it with the connection. (One with streams cannot be marked before these are written.) It gets its name,
complete, in the end.

Rule of the file: everything here may be done twice. Raises ``Refused`` for what the server does not do, ``LineLost``.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from shared.model.backup import ConflictRule
from shared.vault.entry import Entry
from workers.engine.placing import beside_name
from workers.sources.shares.filling import placed
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.describing import AUDIT, READ_ATTRIBUTES
from workers.sources.smb.listing import LOOK
from workers.sources.smb.nodes import (
    DESCRIPTOR,
    LOST_STREAMS,
    NORMAL,
    READ_ONLY,
    SPARSE,
    filetime_of,
    info_of,
    streams_of,
)
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire

WRITE: Final = 0x10116 | READ_ATTRIBUTES
"""Write data and attributes, delete (which renaming is)."""
OWN: Final = 0xE0000
"""Read the descriptor, write DACL and owner."""
_DRESS = 0x110 | READ_ATTRIBUTES
_WINDOW = 8
_OWNER_GROUP, _DACL, _SACL = 3, 4, 8
_INHERITED = ((0x0400, 0x0100), (0x0800, 0x0200))
"""Bits of a descriptor: its DACL, or SACL, was inherited; keep it inherited."""
_DENIED = frozenset({status.ACCESS_DENIED, status.BAD_OWNER, status.PRIVILEGE})
_MARK, _UNMARK = b"\1", b"\0"

Chunks = Iterator[memoryview]


def exists(wire: Wire, path: bytes) -> bool:
    """Tell whether there is a node of this name."""
    opening, _ = wire.ask(smb.create(path, access=LOOK, options=smb.FOR_BACKUP), smb.close(smb.RELATED))
    return opening.status not in status.VANISHED


def make_folder(wire: Wire, path: bytes) -> bool:
    """Make a folder unless it is there; return whether it was made."""
    options = smb.IS_DIRECTORY | smb.FOR_BACKUP
    opening, _ = wire.ask(
        smb.create(path, access=LOOK, options=options, disposition=smb.OPEN_OR_MAKE), smb.close(smb.RELATED)
    )
    return smb.created(opening.expect()).new


def dress_folder(wire: Wire, path: bytes, entry: Entry) -> list[str]:
    """Give a folder its streams, descriptor, attributes and times; return what could not be given, in words."""
    lost = _write_streams(wire, path, entry)
    options = smb.IS_DIRECTORY | smb.FOR_BACKUP
    handle = _opened(wire, path, _DRESS, options=options, disposition=smb.OPEN, audit=has_audit_rules(entry))
    try:
        lost += _set_descriptor(wire, handle, entry)
        lost += _set_info(wire, handle, entry)
    finally:
        _leave(wire, handle)
    return lost


class FileWriter:
    """Writes one file into a folder of a share; made again when the wire was lost."""

    def __init__(self, wire: Wire, folder: bytes, name: bytes, entry: Entry, check: Callable[[], None]) -> None:
        self._wire = wire
        self._folder = folder
        self._name = name
        self._entry = entry
        self._check = check
        self._hidden = self._at(b".skyharbor-" + secrets.token_hex(8).encode())
        self.lost: list[str] = []
        """What of its attributes could not be given back, in words."""

    def write(self, chunks: Chunks, rule: ConflictRule) -> bytes | None:
        """Write the file and return the name it got, None when an existing node was kept."""
        options = smb.IS_FILE | smb.FOR_BACKUP
        audit = has_audit_rules(self._entry)
        handle = _opened(self._wire, self._hidden, WRITE, options=options, disposition=smb.MAKE, audit=audit)
        marked = False
        try:
            if not streams_of(self._entry.xattrs):
                self._mark(handle, _MARK)
                marked = True
            self._fill(handle, chunks)
            self.lost += _write_streams(self._wire, self._hidden, self._entry)
            self.lost += _set_descriptor(self._wire, handle, self._entry)
            if marked:
                self._mark(handle, _UNMARK)
            name = self._publish(handle, rule)
            if name is None:
                self._mark(handle, _MARK)
            else:
                self.lost += _set_info(self._wire, handle, self._entry)
            return name
        except BaseException:
            if not self._wire.lost:
                self._wire.ask(smb.set_info(handle, smb.INFO_FILE, smb.DISPOSITION_INFORMATION, _MARK))
            raise
        finally:
            _leave(self._wire, handle)

    def _at(self, name: bytes) -> bytes:
        return self._folder + b"/" + name if self._folder else name

    def _mark(self, handle: bytes, mark: bytes) -> None:
        (answer,) = self._wire.ask(smb.set_info(handle, smb.INFO_FILE, smb.DISPOSITION_INFORMATION, mark))
        answer.expect()

    def _publish(self, handle: bytes, rule: ConflictRule) -> bytes | None:
        replace = rule is ConflictRule.OVERWRITE
        answer = self._rename(handle, self._name, replace=replace)
        if replace and answer in _DENIED and _make_writable(self._wire, self._at(self._name)):
            answer = self._rename(handle, self._name, replace=True)
        number = 0
        name = self._name
        while answer == status.EXISTS and rule is ConflictRule.RENAME:
            number += 1
            name = beside_name(self._name, number)
            answer = self._rename(handle, name, replace=False)
        if answer == status.EXISTS and rule is ConflictRule.SKIP:
            return None
        if answer != status.OK:
            raise Refused(answer)
        return name

    def _rename(self, handle: bytes, name: bytes, *, replace: bool) -> int:
        new = smb.renaming(self._at(name), replace=replace)
        (answer,) = self._wire.ask(smb.set_info(handle, smb.INFO_FILE, smb.RENAME_INFORMATION, new))
        return answer.status

    def _fill(self, handle: bytes, chunks: Chunks) -> None:
        entry, under_way = self._entry, deque[int]()
        if entry.holes:
            self._wire.ask(smb.ioctl(handle, smb.FSCTL_SET_SPARSE))  # where it cannot, holes are zeros
        for offset, piece in placed(entry, chunks, most=self._wire.most_write):
            self._check()
            under_way += self._wire.send(smb.write(handle, offset, piece))
            if len(under_way) >= _WINDOW:
                _settle(self._wire, under_way.popleft())
        while under_way:
            _settle(self._wire, under_way.popleft())
        if entry.holes:
            end = entry.size.to_bytes(8, "little")
            (answer,) = self._wire.ask(smb.set_info(handle, smb.INFO_FILE, smb.END_OF_FILE, end))
            answer.expect()


def _settle(wire: Wire, number: int) -> None:
    wire.receive(number).expect()


def _opened(wire: Wire, path: bytes, access: int, *, options: int, disposition: int, audit: bool) -> bytes:
    """Open with the right to change the descriptor, and without where there is none."""
    for more in (OWN | AUDIT if audit else OWN, OWN, OWN & ~0x80000, 0):
        create = smb.create(path, access=access | more, options=options, disposition=disposition, attributes=NORMAL)
        (opening,) = wire.ask(create)
        if opening.status not in _DENIED:
            break
    return smb.created(opening.expect()).handle


def _leave(wire: Wire, handle: bytes) -> None:
    if not wire.lost:
        wire.ask(smb.close(handle))


def _write_streams(wire: Wire, path: bytes, entry: Entry) -> list[str]:
    missing = dict(entry.xattrs).get(LOST_STREAMS, b"").decode("utf-8", "backslashreplace")
    lost = [f"stream {name} (the point does not have it)" for name in missing.split("\n") if name]
    for name, value in streams_of(entry.xattrs):
        try:
            _write_stream(wire, path + b":" + name, value)
        except Refused as error:
            if error.status in status.FULL:
                raise
            lost.append(f"stream {name.decode('utf-8', 'backslashreplace')} ({error})")
    return lost


def _write_stream(wire: Wire, path: bytes, value: bytes) -> None:
    access = 0x2 | READ_ATTRIBUTES
    opening = wire.ask(
        smb.create(path, access=access, options=smb.FOR_BACKUP, disposition=smb.OVERWRITE_OR_MAKE, attributes=NORMAL)
    )[0]
    handle = smb.created(opening.expect()).handle
    try:
        if value:
            wire.ask(smb.write(handle, 0, value))[0].expect()
    finally:
        _leave(wire, handle)


def _set_descriptor(wire: Wire, handle: bytes, entry: Entry) -> list[str]:
    """Give a node its descriptor as a whole, or where its owner is refused, its DACL."""
    raw = dict(entry.xattrs).get(DESCRIPTOR)
    if raw is None:
        return []
    wanted = asking_to_inherit(raw)
    rules = ["audit rules"] if has_audit_rules(entry) else []
    ways = [(_OWNER_GROUP | _DACL, rules), (_DACL, ["owner", *rules])]
    if rules:
        ways.insert(0, (_OWNER_GROUP | _DACL | _SACL, []))
    for what, lost in ways:
        (answer,) = wire.ask(smb.set_info(handle, smb.INFO_SECURITY, 0, wanted, additional=what))
        if answer.status == status.OK:
            return lost
        if answer.status not in _DENIED:
            break
    return [f"security descriptor ({status.shown(answer.status)})"]


def has_audit_rules(entry: Entry) -> bool:
    """Tell whether a node's descriptor has a SACL."""
    raw = dict(entry.xattrs).get(DESCRIPTOR, b"")
    return any(raw[12:16])


def asking_to_inherit(raw: bytes) -> bytes:
    """Return a descriptor to set: what says that its entries were inherited is only kept when it is asked for."""
    control = int.from_bytes(raw[2:4], "little")
    for inherited, request in _INHERITED:
        if control & inherited:
            control |= request
    return raw[:2] + control.to_bytes(2, "little") + raw[4:]


def _set_info(wire: Wire, handle: bytes, entry: Entry) -> list[str]:
    attributes, created = info_of(entry.xattrs)
    new = smb.basic(created=created, written=filetime_of(entry.mtime_ns), attributes=(attributes & ~SPARSE) or NORMAL)
    (answer,) = wire.ask(smb.set_info(handle, smb.INFO_FILE, smb.BASIC_INFORMATION, new))
    return [] if answer.status == status.OK else [f"times and attributes ({status.shown(answer.status)})"]


def _make_writable(wire: Wire, path: bytes) -> bool:
    """Take the read-only attribute from a file that is to be replaced; return whether it had one."""
    opening = wire.ask(smb.create(path, access=0x100 | READ_ATTRIBUTES, options=smb.IS_FILE | smb.FOR_BACKUP))[0]
    if opening.status != status.OK:
        return False
    created = smb.created(opening.message)
    try:
        if not created.look.attributes & READ_ONLY:
            return False
        new = smb.basic(attributes=(created.look.attributes & ~READ_ONLY) or NORMAL)
        wire.ask(smb.set_info(created.handle, smb.INFO_FILE, smb.BASIC_INFORMATION, new))
        return True
    finally:
        _leave(wire, created.handle)
