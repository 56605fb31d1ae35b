"""What a point of a cluster can bring back: its backups, its log, and from when to when.

The same value is the session's state, sealed in the manifest, and the file ``window.json`` in the tree, for people.
Positions in the log are texts as PostgreSQL writes them, times RFC 3339 in UTC by the server's clock.

Rule of the file: values and questions about them; nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from shared.decoders import json_decoder
from shared.errors import SkyharborError
from workers.sources.postgres.lsn import parse_lsn

STATE = "window"
FILE = b"window.json"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A base backup, or with a ``parent`` an increment; its files are below ``base/<name>``.

    ``start`` and ``stop`` are where replay begins and from where on the files are consistent. ``ended`` is a time by
    when it was. ``size`` is in bytes.
    """

    name: str
    parent: str = ""
    start: str
    stop: str
    ended: str
    size: int


class RestorePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A name that somebody gave to a position (``pg_create_restore_point``)."""

    name: str
    position: str


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What a point has.

    ``begins`` and ``ends`` are the times between which any moment can be restored; ``last_change`` is that of the last
    transaction in the log, empty when none was seen. The log reaches from ``log_begins`` to ``log_ends`` without a gap.
    ``slot`` is the replication slot that keeps the log for the next point. ``settings`` are those that a server must
    have at least as large to replay the log.
    """

    system_id: str
    version: int
    timeline: int
    segment: int
    slot: str
    begins: str
    ends: str
    last_change: str = ""
    log_begins: str
    log_ends: str
    backups: tuple[Backup, ...]
    restore_points: tuple[RestorePoint, ...] = ()
    settings: dict[str, str] = {}

    def backup(self, name: str) -> Backup:
        """Return the backup of this name. Raises ``object-damaged`` when the window does not know it."""
        for one in self.backups:
            if one.name == name:
                return one
        raise SkyharborError("object-damaged", f"the point does not know backup {name!r} of its own chain")

    def chain(self, backup: Backup) -> list[Backup]:
        """Return the backup and what it is an increment of, the base first."""
        found = [backup]
        while found[-1].parent and len(found) <= len(self.backups):
            found.append(self.backup(found[-1].parent))
        return found[::-1]

    def replayable(self) -> list[Backup]:
        """Return the backups from which the log reaches to the end, oldest first."""
        begins = parse_lsn(self.log_begins)
        return sorted(
            (one for one in self.backups if parse_lsn(one.start) >= begins), key=lambda one: parse_lsn(one.stop)
        )

    @property
    def newest(self) -> Backup:
        """The backup that ended last."""
        return max(self.backups, key=lambda one: parse_lsn(one.stop))

    @property
    def size(self) -> int:
        """The size of the newest backup's base, in bytes."""
        return self.chain(self.newest)[0].size


def begins(backups: Sequence[Backup], log_begins: str) -> str:
    """Return since when any moment can be restored: since the oldest backup from which the log goes on."""
    return min(one.ended for one in backups if parse_lsn(one.start) >= parse_lsn(log_begins))


def encode(window: Window) -> str:
    """Return the window as JSON text."""
    return msgspec.json.encode(window).decode()


def readable(window: Window) -> bytes:
    """Return the window as people like to read JSON."""
    return msgspec.json.format(msgspec.json.encode(window), indent=2) + b"\n"


def decode(text: str | bytes) -> Window:
    """Return the window of a text. Raises ``object-damaged`` when it is none."""
    try:
        return json_decoder(Window).decode(text)
    except msgspec.MsgspecError as error:
        raise SkyharborError("object-damaged", f"the point's window cannot be read: {error}") from error


def show_time(time: datetime) -> str:
    """Return a time as windows have it: microseconds always, so that texts compare like times."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the time of a text; one without a zone is in UTC. Raises ``ValueError``."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
