"""The work protocol: ``hello``, ``claim → renew → commit → complete`` or ``release``; ``offer`` and ``shards``.

A writer asks for ``condemned`` packs; a collector (decision 12) has verbs of its own, in ``shared.contracts.collect``.

Every verb is ``POST /work/v1/<verb>`` with JSON.

Fencing: a claim gives a ``Fence`` of (job, unit, epoch, claim id). The tower answers 409 ``stale-claim`` to every
message whose fence is not the current one; the worker then stops and touches nothing. Times are seconds.
A worker that has not renewed for ``stop_after`` seconds (its own monotonic clock, counted from *before* the last
successful call) stops itself; the tower gives the work away only after ``lease`` seconds and a margin.

A job is unit 0, its *lead*. The lead of a large backup may cut parts off and offer them as units 1 and up, its
*shards*: other workers claim, renew, complete and release them like any unit, and the lead asks with ``shards`` what
became of them. What shards are about passes through the tower sealed: it holds names, which the tower may not see.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import SourceSpec
from shared.model.backup import (
    BackupStats,
    BackupType,
    CollectStats,
    ConflictRule,
    Notice,
    RestoreStats,
    VerifyStats,
)
from shared.model.bandwidth import UNLIMITED, BandwidthPlan


class Doorbell(msgspec.Struct, frozen=True, kw_only=True):
    """The broker message: come and claim. Ids only; losing or forging one costs latency, never correctness."""

    job_id: str
    epoch: int
    unit: int
    v: int = 1


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of ownership of one unit."""

    job_id: str
    unit: int
    epoch: int
    claim_id: str


# ── instructions: resolved, policy-free ──────────────────────────────────────────────────────────────


class VaultRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where a vault is, and how fast a machine may use it; the worker opens it with its own storage credentials."""

    id: str
    name: str
    url: str
    bandwidth: BandwidthPlan = UNLIMITED


class MachineRef(msgspec.Struct, frozen=True, kw_only=True):
    """Whose data it is. ``key_slots`` are wrapped DEKs (``shared.crypto.slots``); nothing here is secret."""

    id: str
    name: str
    key_slots: tuple[dict[str, str | int], ...] = ()


class ItemRef(msgspec.Struct, frozen=True, kw_only=True):
    """The protected item."""

    id: str
    name: str


class BackupInstruction(msgspec.Struct, frozen=True, kw_only=True, tag="backup", tag_field="kind"):
    """Make one recovery point.

    ``point_id`` is fixed for the job, whatever the attempt, so a job can seal at most one point. ``reference`` is the
    sealed point to compare with (the last point for incremental, the last full for differential, none for full);
    ``type`` is what will really be done: an incremental without a reference is handed out as a full.
    """

    point_id: str
    machine: MachineRef
    item: ItemRef
    vault: VaultRef
    source: SourceSpec
    type: BackupType
    reference: str | None = None
    policy_version: str | None = None
    zstd_level: int = 1  # decision 8 says why


class PointRef(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed point and where it lies."""

    point_id: str
    machine: MachineRef
    item: ItemRef
    vault: VaultRef


class RestoreInstruction(msgspec.Struct, frozen=True, kw_only=True, tag="restore", tag_field="kind"):
    """Bring a point back. Empty ``paths`` means everything; paths are as they were on the source, absolute.

    Every entry of a tree of files lands at ``target`` joined with its original absolute path; what other workloads make
    of the target is their lander's. ``source`` is the item's description as it is now, where it still has one:
    ``target`` may be the URL of the share itself. ``options`` are the workload's own, such as ``format`` or ``until``.
    """

    point: PointRef
    target: str
    paths: tuple[str, ...] = ()
    conflict: ConflictRule = ConflictRule.SKIP
    source: SourceSpec | None = None
    options: dict[str, str] = {}


class VerifyInstruction(msgspec.Struct, frozen=True, kw_only=True, tag="verify", tag_field="kind"):
    """Prove a point. Structure always; with ``full`` every byte is read, decrypted and hashed."""

    point: PointRef
    full: bool = False


class ShardInstruction(msgspec.Struct, frozen=True, kw_only=True, tag="shard", tag_field="kind"):
    """Do a part of somebody else's backup: ``payload`` says which, sealed by the lead for holders of the key."""

    backup: BackupInstruction
    payload: bytes


class CollectedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that has, or had, points in the vault. ``busy``: a backup of it is not finished, see decision 12."""

    machine: MachineRef
    busy: bool = False


class CollectInstruction(msgspec.Struct, frozen=True, kw_only=True, tag="collect", tag_field="kind"):
    """Delete from a vault what is expired and what nobody needs any more.

    ``machines`` are all that the tower knows in this vault. ``again``: sweep once more after the mark, for somebody who
    does not want to wait for the next run; the tower alone decides what is ripe.
    """

    vault: VaultRef
    machines: tuple[CollectedMachine, ...]
    again: bool = False


Instruction = BackupInstruction | RestoreInstruction | VerifyInstruction | ShardInstruction | CollectInstruction


# ── outcomes: values, not exceptions ─────────────────────────────────────────────────────────────────


class SealedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog has to know of a point that now exists in the vault.

    A point that can bring its source back as it was at any moment of a stretch of time says from when until when.
    """

    point_id: str
    manifest: str  # object name
    manifest_sha256: str
    type: BackupType
    reference: str | None
    sealed_at: str  # RFC 3339, UTC
    files: int
    bytes: int  # logical size of everything in the point
    moments_from: str | None = None  # RFC 3339, UTC
    moments_until: str | None = None


class BackupDone(msgspec.Struct, frozen=True, kw_only=True, tag="backup-done", tag_field="outcome"):
    """The point is sealed. Warnings do not make it less sealed."""

    stats: BackupStats
    point: SealedPoint
    warnings: tuple[Notice, ...] = ()


class RestoreDone(msgspec.Struct, frozen=True, kw_only=True, tag="restore-done", tag_field="outcome"):
    """Everything asked for is in the target, but for the warnings."""

    stats: RestoreStats
    warnings: tuple[Notice, ...] = ()


class VerifyDone(msgspec.Struct, frozen=True, kw_only=True, tag="verify-done", tag_field="outcome"):
    """The check ran to its end. ``stats.problems`` above zero means damage; the notices name the files."""

    stats: VerifyStats
    full: bool
    warnings: tuple[Notice, ...] = ()


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed", tag_field="outcome"):
    """The attempt ended without its result. ``code`` is of the error registry and decides about a retry.

    ``hint`` is what to do about this very failure; empty where the worker knows no more than the registry.
    """

    code: str
    message: str
    hint: str = ""


class Cancelled(msgspec.Struct, frozen=True, kw_only=True, tag="cancelled", tag_field="outcome"):
    """The worker stopped because it was asked to, and cleaned up after itself."""


class ShardDone(msgspec.Struct, frozen=True, kw_only=True, tag="shard-done", tag_field="outcome"):
    """A shard's part is stored and indexed; ``result`` is for the lead, sealed, ``MOST_RESULT`` bytes at most."""

    result: bytes


class CollectDone(msgspec.Struct, frozen=True, kw_only=True, tag="collect-done", tag_field="outcome"):
    """The collector came to its end; the warnings say what it had to leave alone and why."""

    stats: CollectStats
    warnings: tuple[Notice, ...] = ()


Outcome = BackupDone | RestoreDone | VerifyDone | ShardDone | CollectDone | Failed | Cancelled

MOST_SHARDS = 1000
MOST_PAYLOAD = 64 * 1024
MOST_RESULT = 16 * 1024 * 1024
"""What the tower keeps of a backup in shards: their number, and bytes of each instruction and result."""


# ── verbs ────────────────────────────────────────────────────────────────────────────────────────────


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process introduces itself.

    ``worker`` is a name that only one living process can hold (it owns a lock file of that name), ``session`` is new
    per process: leases of earlier sessions of the same worker belong to the dead and are given up at once.
    """

    worker: str
    session: str
    version: str
    concurrency: int
    clock: str  # RFC 3339, UTC: a clock more than 2 s off is answered with a warning


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """The tower's timings, and how many orphaned units it released."""

    lease: float
    renew_every: float
    stop_after: float
    poll_every: float
    released: int


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One attempt of a job, with all its units."""

    job_id: str
    epoch: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for work: the unit of a doorbell, or with none whatever is admitted and unclaimed (the idle poll).

    With ``lead``, the fence of a lead, ask for one of its own shards that nobody has. Without ``shards`` the poll is
    for a whole job only. ``besides`` are attempts of whose shards this worker has given one back because what they are
    about is out of its reach: it gets no other one of these.
    """

    worker: str
    session: str
    doorbell: Doorbell | None = None
    lead: Fence | None = None
    shards: bool = True
    besides: tuple[Attempt, ...] = ()


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The unit is yours until the lease runs out. HTTP 200; nothing to do or a stale doorbell is HTTP 204.

    ``helpers`` is how many other worker processes are alive: whether it is worth while to cut a backup into shards.
    ``condemned`` tells a writer that there are packs not to rely on: it must ask for them before it compares anything.
    """

    fence: Fence
    attempt: int
    lease: float
    renew_every: float
    stop_after: float
    instruction: Instruction
    helpers: int = 0
    condemned: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a unit is. ``*_total`` are estimates (the last run's counts) or 0 when unknown."""

    phase: str = ""
    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    bytes_transferred: int = 0


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """One unit's part of a renewal."""

    fence: Fence
    progress: Progress = Progress()


class Renew(msgspec.Struct, frozen=True, kw_only=True):
    """One call per process for all its units; an empty list still says 'I am alive'."""

    worker: str
    session: str
    units: tuple[Heartbeat, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one unit: ``keep`` on, ``cancel`` (stop, clean up, report), or ``lost`` (stop, touch nothing)."""

    job_id: str
    unit: int
    verdict: str


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts in the order asked; ``drain`` means take no new work.

    ``bandwidth`` has, by vault id, what now holds for every vault that the renewed units use.
    """

    units: tuple[Verdict, ...] = ()
    drain: bool = False
    bandwidth: dict[str, BandwidthPlan] = {}


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """Before a point is sealed: am I still the owner? 200 moves the job to ``committing``; 409 means stop."""

    fence: Fence


class Complete(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt. Repeating it with the same fence after a lost reply is answered 200 again."""

    fence: Fence
    outcome: Outcome


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Give the unit back unfinished (drain, shutdown): no attempt is burnt."""

    fence: Fence


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A lead's shards, in order: they become units 1 and up. Repeating it after a lost reply adds nothing."""

    fence: Fence
    shards: tuple[bytes, ...]


class AskShards(msgspec.Struct, frozen=True, kw_only=True):
    """A lead asks for its shards; the results of those in ``have`` it holds already."""

    fence: Fence
    have: tuple[int, ...] = ()


class ShardResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a completed shard brought."""

    unit: int
    result: bytes


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """The join is a row count: all are done when ``done`` is ``total``.

    ``free`` are those that nobody has and the lead may take. ``results`` are as many as fit into one answer, at least
    one while there are any that were not in ``have``. ``lost`` are units that took too many workers with them: the
    attempt is over.
    """

    total: int
    done: int
    free: int
    results: tuple[ShardResult, ...] = ()
    lost: tuple[int, ...] = ()
