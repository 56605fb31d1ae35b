"""The table ``alarm``.

Rule of the file: an alarm opens and closes once; the index ``alarm_open`` sees to it that none is open twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from orchestrator.domain.alarms import Alarm, AlarmKind, Finding
from orchestrator.domain.paging import Page, PageRequest, decode_cursor
from orchestrator.store.base import RowMapping, Rows, inline
from orchestrator.store.paging import cut
from shared.model.ids import new_id

_ALL = "SELECT * FROM alarm WHERE id < :before ORDER BY id DESC LIMIT :limit"
_OPEN = "SELECT * FROM alarm WHERE id < :before AND closed_at IS NULL ORDER BY id DESC LIMIT :limit"
T = TypeVar("T")

_BATCH = 5000
"""Rows of one statement: a fleet that is missed as a whole must not run into the database's time limit."""

_BEHIND_ALL = "g"  # behind every character of an id


class AlarmRows(Rows):
    """The alarms."""

    def all_open(self) -> Sequence[Alarm]:
        """Return the open ones."""
        return [_alarm(row) for row in self._all(inline("SELECT * FROM alarm WHERE closed_at IS NULL"))]

    def open(self, findings: Sequence[Finding]) -> None:
        """Remember findings."""
        for batch in _batches(findings):
            self._run(
                inline(
                    "INSERT INTO alarm (id, kind, target, subject, message)"
                    " SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:targets AS text[]),"
                    " CAST(:subjects AS text[]), CAST(:messages AS text[]))"
                ),
                ids=[new_id() for _ in batch],
                kinds=[finding.kind for finding in batch],
                targets=[finding.target for finding in batch],
                subjects=[finding.subject for finding in batch],
                messages=[finding.message for finding in batch],
            )

    def close(self, alarms: Sequence[Alarm], *, telling: bool) -> None:
        """Close alarms."""
        for batch in _batches(alarms):
            self._run(
                inline(
                    "UPDATE alarm SET closed_at = clock_timestamp(),"
                    " news_at = CASE WHEN :telling THEN clock_timestamp() END"
                    " WHERE closed_at IS NULL AND id = ANY (CAST(:ids AS text[]))"
                ),
                ids=[alarm.id for alarm in batch],
                telling=telling,
            )

    def remind(self, *, told_before: datetime) -> None:
        """Make news again of what is still open."""
        self._run(
            inline(
                "UPDATE alarm SET news_at = clock_timestamp()"
                " WHERE closed_at IS NULL AND news_at IS NULL AND told_at < :told_before"
            ),
            told_before=told_before,
        )

    def news(self) -> Sequence[Alarm]:
        """Return what is to be told, oldest first."""
        rows = self._all(inline("SELECT * FROM alarm WHERE news_at IS NOT NULL ORDER BY news_at, id"))
        return [_alarm(row) for row in rows]

    def told(self, alarms: Sequence[Alarm]) -> None:
        """Remember that messages about these were made."""
        for batch in _batches(alarms):
            self._run(
                inline(
                    "UPDATE alarm SET news_at = NULL, told_at = clock_timestamp() WHERE id = ANY (CAST(:ids AS text[]))"
                ),
                ids=[alarm.id for alarm in batch],
            )

    def page(self, request: PageRequest, *, closed: bool) -> Page[Alarm]:
        """Return alarms, newest first."""
        cursor = decode_cursor(request.cursor)
        rows = self._all(
            inline(_ALL if closed else _OPEN),
            before=_BEHIND_ALL if cursor is None else cursor,
            limit=request.limit + 1,
        )
        return cut([_alarm(row) for row in rows], request.limit, lambda alarm: alarm.id)


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _alarm(row: RowMapping) -> Alarm:
    return Alarm(
        id=row["id"],
        kind=AlarmKind(row["kind"]),
        target=row["target"],
        subject=row["subject"],
        message=row["message"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        told_at=row["told_at"],
    )
