"""The auditor: rounds, deliveries and the dead-man ping, in a process of its own.

Rule of the file: rhythm only, and nothing shared with the loops that it watches. A round that fails is logged by its
looper and tried again; nobody is pinged for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from orchestrator.domain.oversight import Patience
from orchestrator.use_cases.audit_fleet import Telling, audit_fleet
from orchestrator.use_cases.deliver_alarms import Accepted, deliver_alarms
from orchestrator.use_cases.ports import Channel, DeadMan, UnitOfWork
from orchestrator.use_cases.system import is_ready
from shared.errors import SkyharborError

_log = structlog.get_logger(__name__)

MUTE_AFTER = timedelta(minutes=5)
"""An auditor that could not deliver a message for so long has not done its work: silence is the only channel left."""


class Auditor:
    """One round per step. ``again`` is after how long people are reminded of what is still open."""

    def __init__(
        self,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        schema_head: str,
        patience: Patience,
        again: timedelta,
        channels: Sequence[Channel] = (),
        dead_man: DeadMan | None = None,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._schema_head = schema_head
        self._patience = patience
        self._telling = Telling(anybody=bool(channels), again=again)
        self._channels = channels
        self._dead_man = dead_man
        self._watched_since: datetime | None = None
        self._accepted: Accepted = {}

    def step(self) -> bool:
        """Do one round."""
        with self._unit_of_work() as uow:
            if not is_ready(uow, schema_head=self._schema_head):
                raise SkyharborError("server-unreachable", f"the database's schema is not {self._schema_head}")
            began = uow.now()
            done = audit_fleet(uow, patience=self._patience, telling=self._telling, watched_since=self._watched_since)
        if done is None:
            return False  # another auditor is at it, and pings for itself
        self._watched_since = self._watched_since or began
        if done.opened or done.closed:
            _log.warning("alarms_changed", opened=done.opened, closed=done.closed, still=done.still)
        delivery = deliver_alarms(self._unit_of_work, channels=self._channels, accepted=self._accepted)
        if delivery.failed:
            _log.error("alarm_not_delivered", channels=list(delivery.failed))
        if self._dead_man is not None and not self._is_mute():
            self._dead_man.ping()
        return False

    def _is_mute(self) -> bool:
        if not self._channels:
            return False
        with self._unit_of_work() as uow:
            since = uow.messages.pending_since()
            return since is not None and uow.now() - since > MUTE_AFTER
