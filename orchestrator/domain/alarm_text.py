"""Messages about alarms, as people read them on a telephone.

Rule of the file: pure. A few pieces of news are a message each; many at once are one digest, however many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby

from orchestrator.domain.alarms import Alarm, AlarmKind

MOST_SINGLE = 5
"""More pieces of news than this at once are one digest."""

_MOST_LINES = 10
"""Lines of one kind in a digest."""

_LONGEST_SUBJECT = 120


class Tone(StrEnum):
    """How a channel may colour a message."""

    BAD = "bad"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Message:
    """What is delivered: plain text."""

    title: str
    body: str
    tone: Tone


def compose(news: Sequence[Alarm]) -> list[Message]:
    """Return the messages that tell of these alarms: new, still open, or closed, each as it stands now."""
    if len(news) <= MOST_SINGLE:
        return [_single(alarm) for alarm in news]
    return [_digest(news)]


def _single(alarm: Alarm) -> Message:
    mark = {"new": "", "still": "still: ", "over": "over: "}[_novelty(alarm)]
    closed = "" if alarm.closed_at is None else f"\nclosed {_stamp(alarm.closed_at)}"
    return Message(
        title=f"Skyharbor {mark}{alarm.kind} {_short(alarm.subject)}",
        body=f"{alarm.message}\nopened {_stamp(alarm.opened_at)}{closed}",
        tone=Tone.BAD if alarm.closed_at is None else Tone.GOOD,
    )


def _digest(news: Sequence[Alarm]) -> Message:
    counted = {word: sum(_novelty(alarm) == word for alarm in news) for word in ("new", "still", "over")}
    heads = {"new": "new", "still": "still open", "over": "over"}
    title = ", ".join(f"{count:,} {heads[word]}" for word, count in counted.items() if count)
    lines: list[str] = []
    for (word, kind), alarms in _grouped(news):
        lines.append(f"{heads[word]}, {kind}: {len(alarms):,}")
        lines.extend(f"  {_short(alarm.subject)}: {alarm.message}" for alarm in alarms[:_MOST_LINES])
        if len(alarms) > _MOST_LINES:
            lines.append(f"  and {len(alarms) - _MOST_LINES:,} more: skyharbor alarm list")
    return Message(
        title=f"Skyharbor alarms: {title}",
        body="\n".join(lines),
        tone=Tone.GOOD if counted["over"] == len(news) else Tone.BAD,
    )


def _grouped(news: Sequence[Alarm]) -> list[tuple[tuple[str, AlarmKind], list[Alarm]]]:
    order = ["new", "still", "over"]
    kinds = list(AlarmKind)

    def key(alarm: Alarm) -> tuple[int, int]:
        return order.index(_novelty(alarm)), kinds.index(alarm.kind)

    grouped = groupby(sorted(news, key=lambda alarm: (*key(alarm), alarm.subject)), key=key)
    return [((order[word], kinds[kind]), list(alarms)) for (word, kind), alarms in grouped]


def _novelty(alarm: Alarm) -> str:
    if alarm.closed_at is not None:
        return "over"
    return "new" if alarm.told_at is None else "still"


def _short(subject: str) -> str:
    """Return a name that fits a title: it is one line, and may be anything that a person has typed."""
    line = " ".join(subject.split())
    return line if len(line) <= _LONGEST_SUBJECT else line[: _LONGEST_SUBJECT - 1] + "…"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
