"""The hold of one backup on a cluster: its slot, one replication connection, and what the point will say of itself.

A backup mode of the server ends with the connection, whoever ends it. What could stay behind is a slot that this backup
made: the guard is told before, and ``close`` drops it unless the point was sealed.

Rule of the file: the sequence of a session; protocol, planning and the tree are elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import structlog

from shared.contracts.sources import PostgresSource, slot_of
from shared.errors import SkyharborError
from shared.model.backup import BackupType, Notice
from shared.vault.point import MOMENTS_FROM, MOMENTS_UNTIL
from workers.engine.ports import SessionOrder, StreamSource
from workers.sources.postgres import slot as slots
from workers.sources.postgres import window
from workers.sources.postgres.access import Access
from workers.sources.postgres.cluster_stream import ClusterStream, Order
from workers.sources.postgres.lsn import parse_lsn, segment_start, show_lsn
from workers.sources.postgres.planning import Limits, Log, Server, plan
from workers.sources.postgres.replication import Identity, Replication
from workers.sources.postgres.sizes import parse_size, show_size
from workers.sources.postgres.trouble import failed
from workers.sources.postgres.wal_marks import PAGE
from workers.sources.postgres.window import Window

_log = structlog.get_logger()

_MUCH = 4 << 30
"""Bytes of log that a slot without a limit may keep before every backup says so."""


class ClusterSession:
    """A session for a physical backup. Raises ``source-failed`` with what to do, when it cannot begin."""

    def __init__(self, order: SessionOrder, *, limits: Limits = Limits()) -> None:
        if not isinstance(order.spec, PostgresSource):
            raise TypeError("not a PostgreSQL item")
        self._order, self._spec = order, order.spec
        self._access = Access(self._spec.dsn, self._spec.credentials_file)
        self._slot = slot_of(order.item_id)
        self._armed: int | None = None
        self._made = self._sealed = False
        self._notices: list[Notice] = []
        self._connection = Replication(self._access, order.check)
        try:
            self._stream = self._begin(limits)
        except BaseException:
            self.close()
            raise

    # ── the port ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def reading(self) -> bytes | StreamSource:
        """See the port."""
        return self._stream

    @property
    def paths(self) -> tuple[str, ...]:
        """See the port: a cluster is protected as a whole."""
        return ("/",)

    @property
    def state(self) -> Mapping[str, str]:
        """See the port."""
        made = self._window()
        return {window.STATE: window.encode(made), MOMENTS_FROM: made.begins, MOMENTS_UNTIL: made.ends}

    def notices(self) -> Sequence[Notice]:
        """See the port."""
        return [*self._notices, *self._stream.notices, *self._said_of_gap()]

    def confirm(self) -> None:
        """See the port: the stream has raised for whatever was wrong; what is left is that it came to its end."""
        self._window()

    def sealed(self) -> None:
        """Let the server go on without the log that the point has."""
        self._sealed = True
        if self._armed is not None:
            self._order.guard.disarm(self._armed)
            self._armed = None
        made = self._window()
        try:
            self._advance(made)
        except SkyharborError as error:
            _log.warning("slot-not-moved", slot=self._slot, reason=error.detail)

    def close(self) -> None:
        """See the port."""
        self._connection.close()
        if self._made and not self._sealed:
            try:
                self._drop()
            except Exception as error:  # noqa: BLE001 - the guard has the same duty, and tries again
                _log.warning("slot-not-dropped", slot=self._slot, reason=type(error).__name__)
                return
            if self._armed is not None:
                self._order.guard.disarm(self._armed)
        self._made, self._armed = False, None

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, limits: Limits) -> ClusterStream:
        connection = self._connection
        identity = connection.identify()
        if connection.show("wal_level") not in ("replica", "logical"):
            raise failed(f"{self._access.place} keeps too little in its log (wal_level = minimal)", "wal_level")
        if connection.show("wal_block_size") != str(PAGE):
            raise failed(f"{self._access.place} was built with another size of log blocks than {PAGE} bytes")
        segment = parse_size(connection.show("wal_segment_size"))
        before = self._reference()
        slot = slots.look(connection, self._slot)
        server = Server(
            system_id=identity.system_id,
            timeline=identity.timeline,
            flushed=identity.flushed,
            segment=segment,
            log=self._log_since(slot, before, identity, segment),
            increments=connection.major >= 17 and connection.show("summarize_wal") == "on",
        )
        is_full = self._order.reference is None or self._order.reference.type is BackupType.FULL
        made = plan(before, server, is_full=is_full, limits=limits)
        self._found = slot if slot is not None and slot.kept is not None else None
        self._limit = connection.show("max_slot_wal_keep_size")
        self._tell_of_no_limit()
        self._tell_of_lag(identity)
        self._gap, self._before = made.gap, before
        order = Order(
            plan=made,
            before=None if made.gap else before,
            identity=identity,
            segment=segment,
            slot=self._slot,
            label=f"skyharbor {self._order.point_id}",
            databases=self._spec.dumps,
            hold=self._hold,
        )
        return ClusterStream(connection, self._access, order, self._order.check)

    def _reference(self) -> Window | None:
        text = self._order.reference.state.get(window.STATE) if self._order.reference is not None else None
        return window.decode(text) if text else None

    def _log_since(self, slot: slots.Slot | None, before: Window | None, identity: Identity, segment: int) -> Log:
        """Find out whether the log from the reference's end on can be had."""
        if slot is None or slot.kept is None:
            return Log.LOST
        if before is None or slot.kept <= parse_lsn(before.log_ends):
            return Log.WHOLE
        needed = segment_start(parse_lsn(before.log_ends), segment)
        if before.timeline != identity.timeline or needed > identity.flushed:
            return Log.MOVED
        has = slots.still_has(self._connection, self._slot, needed, identity.timeline)
        return Log.WHOLE if has else Log.MOVED

    def _hold(self, start: int) -> None:
        """Have the server keep its log from here on: a slot that is made now begins at the backup's checkpoint.

        Made any earlier it would keep what nobody needs, and might lose it all to a limit.
        """
        if self._found is not None:
            return
        details = {"dsn": self._spec.dsn, "credentials_file": self._spec.credentials_file, "slot": self._slot}
        self._armed = self._order.guard.arm(slots.DEED, details)
        with contextlib.closing(Replication(self._access, self._order.check)) as connection:
            slots.drop(connection, self._slot)  # one that has lost its log
            self._made = True
            kept = slots.create(connection, self._slot)
        if kept > start:
            raise failed(f"a checkpoint came between the backup and its slot at {show_lsn(kept)}: try again")

    def _tell_of_no_limit(self) -> None:
        """Say that nothing bounds what the slot may cost the server: every time, for as long as it is so."""
        if self._limit == "-1":
            said = (
                f"the server keeps its log for slot {self._slot} without a limit: if backups stop, its disk fills up; "
                "set max_slot_wal_keep_size to what the disk can spare"
            )
            self._notices.append(Notice("/wal", "slot-unbounded", said))

    def _tell_of_lag(self, identity: Identity) -> None:
        """Say what the slot costs the server when it keeps much."""
        if self._found is None or self._found.kept is None:
            return
        endless = self._limit in ("-1", "")
        lag, most = identity.flushed - self._found.kept, _MUCH if endless else parse_size(self._limit) // 2
        if lag > most:
            allowed = "no limit" if endless else f"a limit of {self._limit}"
            said = f"slot {self._slot} kept {show_size(lag)} of the server's log, with {allowed}; back up more often"
            self._notices.append(Notice("/wal", "slot-lag", said))

    # ── ending ───────────────────────────────────────────────────────────────────────────────────────

    def _window(self) -> Window:
        if self._stream.window is None:
            raise SkyharborError("source-failed", "the cluster was not read to its end")
        return self._stream.window

    def _said_of_gap(self) -> list[Notice]:
        if not self._gap or self._before is None or self._stream.window is None:
            return []
        said = (
            f"{self._gap}: a new base backup was made; the window of times that can be restored ends at "
            f"{self._before.ends} and begins again at {self._stream.window.begins}"
        )
        return [Notice("/wal", "window-gap", said)]

    def _advance(self, made: Window) -> None:
        try:
            slots.advance(self._connection, self._slot, parse_lsn(made.log_ends), made.timeline)
        except SkyharborError:  # the connection may have ended while the point was being written
            self._connection.close()
            self._connection = Replication(self._access)
            slots.advance(self._connection, self._slot, parse_lsn(made.log_ends), made.timeline)

    def _drop(self) -> None:
        with contextlib.closing(Replication(self._access)) as connection:
            slots.drop(connection, self._slot)
