"""The hold of one backup on a share: a previous version where there is one to use, or nothing but the login.

Nothing is left on the server by a session: handles end with the connection, previous versions are the server's own.

Rule of the file: one connection at the beginning and one at the end; reading has its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from shared.clock import Clock, SystemClock
from shared.contracts.sources import SmbSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.describing import AUDIT, READ_ATTRIBUTES, READ_CONTROL
from workers.sources.smb.listing import list_folder
from workers.sources.smb.marks import keeps_change_times
from workers.sources.smb.nodes import DIRECTORY
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.share import Share
from workers.sources.smb.source import open_share
from workers.sources.smb.status import Refused
from workers.sources.smb.versions import CHOICES, chosen, moment_of, previous_versions
from workers.sources.smb.wire import Wire

VERSION = "previous-version"
CHANGE_TIMES = "change-times"
AUDIT_RULES = "audit-rules"
"""In the state: which one the point is of, whether the server keeps change times (``marks``), and lets us see SACLs."""
_KEPT = "kept"
_PROBED = 24
"""Folders."""


class SmbSession:
    """The engine's ``Session`` on a share. Raises ``source-failed`` and ``source-missing`` when it cannot be read."""

    def __init__(self, order: SessionOrder, *, clock: Clock | None = None) -> None:
        spec = order.spec
        if not isinstance(spec, SmbSource):
            raise TypeError(spec)
        if spec.previous_versions not in CHOICES:
            raise SkyharborError("bad-request", f"previous versions may be {', '.join(CHOICES)}")
        self._spec = spec
        self._clock = clock or SystemClock()
        self._share: Share = open_share(SmbReading(spec=spec), self._clock)
        try:
            self._version = self._choose(_made(order))
            self._audit = self._share.over(self._may_audit)
            self._marked = _known(order) != _KEPT and not self._keeps_change_times()
        except BaseException:
            self._share.part()
            raise

    def _choose(self, after: datetime | None) -> datetime | None:
        there = self._versions()
        return chosen(self._spec.previous_versions, there, now=self._clock.now(), after=after)

    def _versions(self) -> list[datetime]:
        folder = self._share.address.folder
        try:
            return self._share.over(lambda wire: previous_versions(wire, folder))
        except Refused as error:
            code = "source-missing" if error.status in _MISSING else "source-failed"
            where = f"{self._share.address.text}/{folder.decode('utf-8', 'backslashreplace')}"
            raise SkyharborError(code, f"{where}: {error}") from error

    def _may_audit(self, wire: Wire) -> bool:
        """Ask for the folder's audit rules: whoever may read those may read all."""
        access = READ_ATTRIBUTES | READ_CONTROL | AUDIT
        folder = self._share.address.folder
        opening, _ = wire.ask(smb.create(folder, access=access, options=smb.FOR_BACKUP), smb.close(smb.RELATED))
        return opening.status == status.OK

    def _keeps_change_times(self) -> bool:
        """Look at some folders for a change time that is not just the time of the last write."""
        waiting, folders = deque([self._share.address.folder]), 0
        while waiting and folders < _PROBED:
            folder = waiting.popleft()
            folders += 1
            try:
                rows = self._share.over(partial(list_folder, folder=folder))
            except Refused:
                continue
            if keeps_change_times(rows):
                return True
            prefix = folder + b"/" if folder else b""
            waiting += [prefix + row.name for row in rows if row.look.attributes & DIRECTORY and not row.tag]
        return False

    @property
    def reading(self) -> bytes:
        """How others open the same share at the same moment."""
        return msgspec.msgpack.encode(
            SmbReading(spec=self._spec, moment=moment_of(self._version), marked=self._marked, audit=self._audit)
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected, as a path in the share."""
        return ("/" + self._share.address.folder.decode("utf-8", "surrogateescape"),)

    @property
    def state(self) -> Mapping[str, str]:
        """Which previous version the point is of, and what this backup found out about the server and us."""
        version = {VERSION: self._version.isoformat()} if self._version is not None else {}
        audit = {AUDIT_RULES: "kept"} if self._audit else {}
        return {**version, **audit, CHANGE_TIMES: "none" if self._marked else _KEPT}

    def notices(self) -> Sequence[Notice]:
        """Nothing has to be said of the session as a whole."""
        return ()

    def confirm(self) -> None:
        """See that the server has kept the previous version all the time."""
        if self._version is not None and self._version not in self._versions():
            raise SkyharborError(
                "source-failed", "the server has deleted the previous version while it was read", hint="Run it again."
            )

    def sealed(self) -> None:
        """Nothing waits for it."""

    def close(self) -> None:
        """Hang up."""
        self._share.part()


_MISSING = frozenset({0xC0000034, 0xC000003A, 0xC000000F, 0xC0000103})


def _known(order: SessionOrder) -> str:
    return order.reference.state.get(CHANGE_TIMES, "") if order.reference is not None else ""


def _made(order: SessionOrder) -> datetime | None:
    """Return the moment that the last point is of."""
    body = order.reference
    if body is None:
        return None
    kept = body.state.get(VERSION)
    return datetime.fromisoformat(kept) if kept else datetime.fromisoformat(body.started_at).astimezone(UTC)
