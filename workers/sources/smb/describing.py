"""Asks what belongs to a node besides its content: descriptor, attributes, streams.

Rule of the file: one compound per node; streams, which few nodes have, cost one more each.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.messages import Created, Look, Request
from workers.sources.smb.nodes import DESCRIPTOR, LOST_STREAMS, MOST_STREAMS, STREAM, info_pair
from workers.sources.smb.setting import Setting
from workers.sources.smb.wire import Reply, Wire

READ_DATA, READ_CONTROL, READ_ATTRIBUTES = 0x1, 0x20000, 0x100080
OWNER_GROUP_DACL, WITH_AUDIT = 7, 15
AUDIT = 0x1000000
"""The right to audit rules (ACCESS_SYSTEM_SECURITY): a privilege of the user, not of the node."""

Xattrs = tuple[tuple[bytes, bytes], ...]


class Described(NamedTuple):
    """What a node has besides its content, and what could not be had, for people."""

    xattrs: Xattrs
    complaint: str


def questions(setting: Setting, handle: bytes = smb.RELATED) -> tuple[Request, Request]:
    """Return the requests for the descriptor and the list of streams."""
    return (
        smb.query_info(handle, smb.INFO_SECURITY, 0, additional=WITH_AUDIT if setting.audit else OWNER_GROUP_DACL),
        smb.query_info(handle, smb.INFO_FILE, smb.STREAM_INFORMATION),
    )


def described(wire: Wire, path: bytes, setting: Setting, look: Look, answers: tuple[Reply, Reply]) -> Described:
    """Read the answers to ``questions``, and the streams. Raises ``Refused`` when the node is gone meanwhile."""
    security, listed = answers
    pairs = [info_pair(look)]
    complaint = ""
    if security.status == status.OK:
        pairs.append((DESCRIPTOR, smb.info(security.message)))
    elif security.status in status.VANISHED:
        raise status.Refused(security.status)
    else:
        complaint = f"its security descriptor: {status.shown(security.status)}"
    if listed.status == status.OK:
        kept, lost = _streams(wire, path, setting.moment, smb.streams(listed.message))
        pairs += kept
        if lost:
            pairs.append((LOST_STREAMS, b"\n".join(lost)))
            names = ", ".join(name.decode("utf-8", "backslashreplace") for name in lost)
            complaint = "; ".join(filter(None, (complaint, f"too large a stream for a point: {names}")))
    elif listed.status == status.MORE:
        complaint = "; ".join(filter(None, (complaint, "it has too many streams")))
    return Described(tuple(sorted(pairs)), complaint)


def _streams(
    wire: Wire, path: bytes, moment: int, found: list[tuple[bytes, int]]
) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    kept: list[tuple[bytes, bytes]] = []
    lost: list[bytes] = []
    room = MOST_STREAMS
    for name, size in sorted(found):
        data = _stream(wire, path + b":" + name, moment, size) if size <= room else None
        if data is None:
            lost.append(name)
        else:
            kept.append((STREAM + name, data))
            room -= len(data)
    return kept, lost


def _stream(wire: Wire, path: bytes, moment: int, size: int) -> bytes | None:
    """Return the content of a stream, None when it has grown."""
    opening, reading, _ = wire.ask(
        smb.create(path, access=READ_DATA | READ_ATTRIBUTES, options=smb.FOR_BACKUP, moment=moment),
        smb.read(smb.RELATED, 0, size + 1),
        smb.close(smb.RELATED),
    )
    opening.expect()
    if reading.status == status.END_OF_FILE:
        return b""
    data = bytes(smb.data_read(reading.expect()))
    return data if len(data) <= size else None


def open_request(
    path: bytes, setting: Setting, *, options: int, access: int = 0, control: int = READ_CONTROL
) -> Request:
    """Return the request to open a node with the right to ask ``questions``."""
    audit = AUDIT if setting.audit and control else 0
    return smb.create(path, access=access | READ_ATTRIBUTES | control | audit, options=options, moment=setting.moment)


def open_node(
    wire: Wire, path: bytes, setting: Setting, *, access: int, options: int
) -> tuple[Created, tuple[Reply, Reply]]:
    """Open a node and ask about it; without a right to its descriptor when there is none. Raises ``Refused``."""
    for control in (READ_CONTROL, 0):
        create = open_request(path, setting, access=access, control=control, options=options)
        opening, *answers = wire.ask(create, *questions(setting))
        if opening.status != status.ACCESS_DENIED:
            break
    created = smb.created(opening.expect())
    return created, (answers[0], answers[1])
