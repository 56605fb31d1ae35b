"""What a claim, a renewal and a loss of a unit look like inside the control plane.

Rule of the file: values only; the wire's own shapes are in ``shared.contracts.work``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.jobs import Job
from shared.contracts.work import Fence, Instruction
from shared.model.bandwidth import BandwidthPlan

LEASE_SECONDS = 60.0
"""How long a lease lives without renewal."""

RENEW_EVERY_SECONDS = 15.0
"""Four chances to renew within a lease."""

STOP_AFTER_SECONDS = 40.0
"""A worker that could not renew for so long stops itself: 20 s before anybody else may think of its work."""

POLL_EVERY_SECONDS = 15.0
"""How often an idle worker asks without a doorbell: a flushed broker costs at most this."""

RESCUE_MARGIN_SECONDS = 5.0
"""How long after its end a lease is left alone."""

MOST_SHARD_LOSSES = 3
"""A shard that took so many workers with it ends its job's attempt."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A unit given to a worker."""

    fence: Fence
    attempt: int
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class Beat:
    """One unit's renewal: its fence and its progress, ready to be kept."""

    fence: Fence
    progress: Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class RenewedUnit:
    """A unit whose lease was renewed, whether a person wants it stopped, and how fast it may use its vault."""

    job_id: str
    unit: int
    cancel: bool
    vault_id: str
    bandwidth: BandwidthPlan


@dataclass(frozen=True, slots=True)
class TakenJob:
    """A job that was just claimed, and how many other workers are alive.

    ``condemned``: it writes to a vault in which there are packs not to rely on.
    """

    fence: Fence
    job: Job
    helpers: int
    condemned: bool


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim came to. Nothing is taken for a session that is not ``known`` as its worker's present one."""

    known: bool
    taken: TakenJob | None


@dataclass(frozen=True, slots=True)
class TakenShard:
    """A shard that was just claimed: its fence, what its lead wrote about it, and ``condemned`` as for a job."""

    fence: Fence
    payload: bytes
    condemned: bool


@dataclass(frozen=True, slots=True)
class LostShard:
    """A shard whose worker is gone; it waits for another one unless it was lost too often."""

    job_id: str
    unit: int
    worker: str
    losses: int


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """Where the shards of an attempt are. ``free``: in nobody's hands and not done. ``lost``: too often to go on."""

    total: int
    done: int
    free: int
    lost: tuple[int, ...]
