"""What a backup of a cluster is to be: a new base, an increment, or the log alone.

The log since the last point is little and gives every moment in between. But a restore replays all of the log since
the backup that it begins from, so that once in a while an increment (where the server has them) or a new base follows.

Rule of the file: a pure function of what is known; no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from workers.sources.postgres.lsn import parse_lsn, segment_start
from workers.sources.postgres.window import Window

MIB = 1 << 20


class Step(StrEnum):
    """What is read besides the log."""

    BASE = "base"
    INCREMENT = "increment"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When replaying the log gets too long. Shares are of the base's size, floors in bytes."""

    increment_share: float = 0.125
    increment_floor: int = 16 * MIB
    base_share: float = 1.0
    base_floor: int = 64 * MIB
    increments: int = 6  # then the next of them is a base, and is due when a base is


class Log(Enum):
    """Whether the server still has the log from where the reference's ends."""

    WHOLE = 0
    MOVED = 1  # the slot is in order, but a later point has moved it: the reference is an older one
    LOST = 2  # there is no slot, or it has lost its log


class Plan(NamedTuple):
    """``parent`` is the backup that an increment is to.

    ``bridged``: older backups and their log stay in the point. ``gap`` says, for people, why the log since the
    reference cannot be had; empty when it can, or was not to be expected.
    """

    step: Step
    parent: str = ""
    bridged: bool = False
    gap: str = ""


class Server(NamedTuple):
    """What has to be known of a server. ``increments``: it can make some."""

    system_id: str
    timeline: int
    flushed: int
    segment: int
    log: Log
    increments: bool


def plan(reference: Window | None, server: Server, *, is_full: bool = True, limits: Limits = Limits()) -> Plan:
    """Decide. Without a reference it is a base; ``is_full`` says that the reference was a full backup.

    A full one whose log has moved on is what a differential backup compares with.
    """
    if reference is None:
        return Plan(Step.BASE)
    gap = gap_between(reference, server, is_full=is_full)
    if gap:
        return Plan(Step.BASE, gap=gap)
    chain = reference.chain(reference.newest)
    if server.log is Log.MOVED:
        return Plan(Step.INCREMENT, parent=chain[-1].name) if server.increments else Plan(Step.BASE)
    # A backup ends with a switch to the next segment: what is before that is padding.
    since = segment_start(parse_lsn(reference.newest.stop), server.segment) + server.segment
    log, size = server.flushed - since, reference.size
    if server.increments and len(chain) <= limits.increments:
        if log > max(limits.increment_floor, limits.increment_share * size):
            return Plan(Step.INCREMENT, parent=chain[-1].name, bridged=True)
    elif log > max(limits.base_floor, limits.base_share * size):
        return Plan(Step.BASE, bridged=True)
    return Plan(Step.LOG, bridged=True)


def gap_between(reference: Window, server: Server, *, is_full: bool) -> str:
    """Return why the log does not go on from the reference's end; empty when it does."""
    if reference.system_id != server.system_id:
        return "this is another cluster than the last point's"
    if reference.timeline != server.timeline:
        return f"the cluster went from timeline {reference.timeline} to {server.timeline}"
    if reference.segment != server.segment:
        return "the size of log segments was changed"
    if server.flushed < parse_lsn(reference.log_ends):
        return "the cluster was set back to an earlier state"
    if server.log is Log.LOST:
        return "the replication slot is gone, or has lost its log"
    if server.log is Log.MOVED and not is_full:
        return "the log since the reference is gone: a later point has moved the replication slot"
    return ""
