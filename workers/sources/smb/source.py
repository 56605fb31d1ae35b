"""The SMB workload as a source: a share, or a folder of one, as a tree of entries.

Rule of the file: it puts the parts of the adapter together; listing, reading and opening are their own modules.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.clock import Clock, SystemClock
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.engine.seen import entry_of
from workers.sources.credentials import read_credentials
from workers.sources.shares.per_thread import PerThread
from workers.sources.shares.source import FarSource, Means
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.address import smb_address
from workers.sources.smb.describing import Described, described, open_node
from workers.sources.smb.listing import SmbListing
from workers.sources.smb.login import login_of
from workers.sources.smb.marks import mark_of
from workers.sources.smb.messages import Created
from workers.sources.smb.nodes import link_target, stat_of
from workers.sources.smb.opened import OpenedShareFile
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.setting import Setting
from workers.sources.smb.share import Share, unreadable
from workers.sources.smb.small import SmallFiles
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire

_YOUNG_NS = 2_000_000_000
"""The server's clock is known to about a second, and file systems tick: what changed as short a time before it was
read may change again unseen, so the next backup reads it again."""


def open_share(reading: SmbReading, clock: Clock) -> Share:
    """Return the share of a description; nothing is dialled yet. Raises ``source-failed`` for bad credentials."""
    address = smb_address(reading.spec.url)
    login = login_of(read_credentials(reading.spec.credentials_file), address)
    return Share(address, login, clock, Setting(reading.moment, reading.marked, reading.audit))


class SmbAdapter(FarSource):
    """The engine's ``Source`` over a share. Paths are those in the share. ``bad-request`` for a bad URL or exclude."""

    def __init__(self, reading: SmbReading, *, clock: Clock | None = None) -> None:
        share = self._share = open_share(reading, clock or SystemClock())
        self._small = PerThread(lambda: SmallFiles(share))
        means = Means(
            listing=lambda: SmbListing(share),
            small=self._small,
            opened=lambda path: OpenedShareFile(share, path, self._complain),
            is_young=self._is_young,
            part=share.part,
        )
        super().__init__(means, top=share.address.folder, excludes=reading.spec.excludes)
        self._complaints: dict[bytes, str] = {}
        self._told: set[bytes] = set()
        self._lock = threading.Lock()

    def complete(self, entry: Entry) -> Entry:
        """Return a folder or a link with its descriptor, attributes, streams and target."""
        told = self._small().describe(entry) if entry.kind == EntryKind.DIRECTORY else None
        if told is not None:
            return self._folder(entry, *told)
        link = entry.kind == EntryKind.SYMLINK
        options = smb.FOR_BACKUP | (smb.IS_LINK if link else 0)
        try:
            return self._share.over(lambda wire: self._completed(wire, entry, options))
        except Refused as error:
            if error.status == status.ACCESS_DENIED and not link:
                return entry  # a folder that is shut to us: that it cannot be listed is said by the scan
            raise unreadable(entry.path, error) from error

    def _completed(self, wire: Wire, entry: Entry, options: int) -> Entry:
        setting = self._share.setting
        created, answers = open_node(wire, entry.path, setting, access=0, options=options)
        try:
            if entry.kind == EntryKind.SYMLINK:
                (told,) = wire.ask(smb.ioctl(created.handle, smb.FSCTL_GET_REPARSE_POINT, room=16384))
                entry.target = _target(entry.path, smb.told(told.expect()))
            else:
                found = entry_of(entry.path, stat_of(created.look, created.node))
                if found.kind != entry.kind:
                    raise Unreadable(Notice(shown(entry.path), "vanished", "something else is in its place"))
                entry = found
            entry.xattrs = self._said(entry.path, described(wire, entry.path, setting, created.look, answers))
            if self._share.setting.marked:
                entry.ctime_ns = mark_of(created.look, entry.xattrs)
        finally:
            if not wire.lost:
                wire.forget(wire.send(smb.close(created.handle)))
        return self._aged(entry)

    def _folder(self, entry: Entry, created: Created, about: Described) -> Entry:
        found = entry_of(entry.path, stat_of(created.look, created.node))
        found.xattrs = self._said(entry.path, about)
        if self._share.setting.marked:
            found.ctime_ns = mark_of(created.look, found.xattrs)
        return self._aged(found)

    def _said(self, path: bytes, about: Described) -> tuple[tuple[bytes, bytes], ...]:
        if about.complaint:
            self._complain(path, about.complaint)
        return about.xattrs

    def complaints(self) -> Sequence[Notice]:
        """Return, once, what could not be had of nodes that were read."""
        with self._lock:
            complaints, self._complaints = self._complaints, {}
        return [Notice(shown(path), "metadata-not-kept", text) for path, text in complaints.items()]

    def _complain(self, path: bytes, text: str) -> None:
        with self._lock:
            if path not in self._told:
                self._complaints[path] = text
                if len(self._told) < 10_000:
                    self._told.add(path)

    def _is_young(self, entry: Entry) -> bool:
        changed = entry.mtime_ns if self._share.setting.marked else entry.ctime_ns
        return changed > self._share.now_ns() - _YOUNG_NS


def _target(path: bytes, data: bytes) -> bytes:
    try:
        return link_target(data)
    except ValueError as error:
        raise Unreadable(Notice(shown(path), "unreadable", f"where it leads cannot be read: {error}")) from error
