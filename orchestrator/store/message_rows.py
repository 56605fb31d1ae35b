"""The table ``alarm_message``: what is still to be delivered, and what was lately.

Rule of the file: a row is never lost; it is deleted only after every channel has taken it, and long after.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.domain.alarm_text import Message, Tone
from orchestrator.store.base import Rows, inline


class MessageRows(Rows):
    """The messages about alarms."""

    def add(self, messages: Sequence[Message]) -> None:
        """Keep messages to be delivered."""
        for message in messages:
            self._run(
                inline("INSERT INTO alarm_message (title, body, tone) VALUES (:title, :body, :tone)"),
                title=message.title,
                body=message.body,
                tone=message.tone,
            )

    def pending_since(self) -> datetime | None:
        """Return when the oldest message was made that is not delivered yet."""
        row = self._one(inline("SELECT min(created_at) AS since FROM alarm_message WHERE delivered_at IS NULL"))
        return None if row is None else row["since"]

    def take(self, *, seconds: float) -> tuple[int, int, Message] | None:
        """Reserve the oldest message whose time has come."""
        row = self._one(
            inline(
                "UPDATE alarm_message SET tried = tried + 1,"
                " due_at = clock_timestamp() + make_interval(secs => :seconds)"
                " WHERE id = (SELECT id FROM alarm_message WHERE delivered_at IS NULL AND due_at <= clock_timestamp()"
                "  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, tried, title, body, tone"
            ),
            seconds=seconds,
        )
        if row is None:
            return None
        return row["id"], row["tried"] - 1, Message(row["title"], row["body"], Tone(row["tone"]))

    def delivered(self, number: int) -> None:
        """Note that every channel has taken a message."""
        self._run(inline("UPDATE alarm_message SET delivered_at = clock_timestamp() WHERE id = :id"), id=number)

    def postpone(self, number: int, *, seconds: float) -> None:
        """Have a message tried again after so long."""
        self._run(
            inline(
                "UPDATE alarm_message SET due_at = clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id"
            ),
            id=number,
            seconds=seconds,
        )

    def sweep(self, *, days: int) -> int:
        """Delete messages delivered long ago."""
        return self._run(
            inline("DELETE FROM alarm_message WHERE delivered_at < clock_timestamp() - make_interval(days => :days)"),
            days=days,
        )
