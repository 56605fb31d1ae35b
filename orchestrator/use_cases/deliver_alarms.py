"""Deliver messages about alarms to every channel.

Rule of the file: no transaction is open while a channel is spoken to. At least once: a message is done when every
channel has taken it, and tried again until then; a process that ends in between tells all channels again.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.alarm_text import Message
from orchestrator.use_cases.ports import Channel, UnitOfWork

FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 900.0
_SECONDS_PER_CHANNEL = 60.0

Accepted = MutableMapping[int, set[str]]
"""Which channels have taken which message that others have not: kept by one process, worth one repetition when lost."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How many messages every channel has taken, and the names of the channels that have refused one."""

    delivered: int
    failed: Sequence[str] = field(default=())


def deliver_alarms(
    unit_of_work: Callable[[], UnitOfWork], *, channels: Sequence[Channel], accepted: Accepted
) -> Delivery:
    """Deliver what is to be delivered, oldest first, up to the first message that a channel refuses.

    That one is tried again after 15 s, then after twice as long each time up to a quarter of an hour, without end.
    """
    delivered = 0
    while channels:
        with unit_of_work() as uow:
            taken = uow.messages.take(seconds=_SECONDS_PER_CHANNEL * len(channels))
            uow.commit()
        if taken is None:
            break
        number, tried, message = taken
        failed = _send(message, channels, accepted.setdefault(number, set()))
        with unit_of_work() as uow:
            if failed:
                uow.messages.postpone(number, seconds=pause(tried))
            else:
                uow.messages.delivered(number)
            uow.commit()
        if failed:
            return Delivery(delivered, failed)
        accepted.pop(number, None)
        delivered += 1
    return Delivery(delivered)


def pause(tried: int) -> float:
    """Return how many seconds to wait before a message is tried again that was tried so often before."""
    return float(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(tried, 16)))


def _send(message: Message, channels: Sequence[Channel], accepted: set[str]) -> list[str]:
    for channel in channels:
        if channel.name not in accepted and channel.send(message):
            accepted.add(channel.name)
    return [channel.name for channel in channels if channel.name not in accepted]
