"""Give a unit to a worker, with everything it needs to know.

Rule of the file: the instruction is resolved here: names, URL, wrapped keys, reference point. The worker knows no
policy.
"""

from __future__ import annotations

import uuid

from orchestrator.domain.inventory import RecoveryPoint, Vault
from orchestrator.domain.jobs import Job
from orchestrator.domain.work import LEASE_SECONDS, RENEW_EVERY_SECONDS, STOP_AFTER_SECONDS
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import (
    BackupInstruction,
    Claim,
    CollectedMachine,
    CollectInstruction,
    Fence,
    Granted,
    Instruction,
    ItemRef,
    MachineRef,
    PointRef,
    RestoreInstruction,
    ShardInstruction,
    VaultRef,
    VerifyInstruction,
)
from shared.errors import SkyharborError
from shared.model.backup import BackupType, ConflictRule, JobKind


def claim(uow: UnitOfWork, *, message: Claim) -> Granted | None:
    """Take the doorbell's unit, or the longest admitted one; None when the doorbell is stale or there is nothing.

    Whoever asks for anything gets a job before a shard: a shard's job has a worker already.
    Who cannot help with some attempt says so (``besides``), and leaves its shards to others.
    ``stale-claim`` when a newer process holds the worker's name. A reply that is lost costs one lease and one loss.
    """
    # A claim that a power cut of the database takes back is no loss: nobody has a lease then, and the worker's next
    # word is answered 'lost'. Waiting for the disk here would make all claims of a fleet wait, one after the other.
    uow.relax()
    granted = None
    if message.lead is None and (message.doorbell is None or message.doorbell.unit == 0):
        granted = _claim_job(uow, message)
    if granted is None and message.shards and (message.doorbell is None or message.doorbell.unit > 0):
        _note(uow, message)
        granted = _claim_shard(uow, message)
    uow.commit()
    return granted


def _claim_job(uow: UnitOfWork, message: Claim) -> Granted | None:
    claim_id = str(uuid.uuid4())
    claimed = uow.units.claim(message.doorbell, worker=message.worker, session=message.session, claim_id=claim_id)
    if not claimed.known:  # a stranger, or one whose name was taken over
        _note(uow, message)
        claimed = uow.units.claim(message.doorbell, worker=message.worker, session=message.session, claim_id=claim_id)
    taken = claimed.taken
    if taken is None:
        return None
    instruction = _instruction(uow, taken.job)
    if isinstance(instruction, BackupInstruction):
        uow.units.note_backup(taken.fence, type=instruction.type, reference=instruction.reference)
    return _granted(taken.fence, taken.job, instruction, helpers=taken.helpers, condemned=taken.condemned)


def _note(uow: UnitOfWork, message: Claim) -> None:
    """Note a sign of life of the worker; ``stale-claim`` when a newer session has its name."""
    if not uow.workers.seen(message.worker, message.session):
        raise SkyharborError("stale-claim", f"a newer process is {message.worker} now")


def _claim_shard(uow: UnitOfWork, message: Claim) -> Granted | None:
    worker, session, claim_id = message.worker, message.session, str(uuid.uuid4())
    if message.lead is not None:
        taken = uow.shards.claim_own(message.lead, worker=worker, session=session, claim_id=claim_id)
    else:
        taken = uow.shards.claim(
            message.doorbell, worker=worker, session=session, claim_id=claim_id, besides=message.besides
        )
    if taken is None:
        return None
    fence = taken.fence
    job = uow.jobs.get(fence.job_id)
    detail = {"unit": fence.unit, "epoch": fence.epoch}
    uow.audit.append(actor=f"worker:{worker}", action="shard.claim", target=job.id, detail=detail)
    lead = _backup_of(uow, job, type=job.type or BackupType.FULL, reference=job.reference)
    instruction = ShardInstruction(backup=lead, payload=taken.payload)
    return _granted(fence, job, instruction, helpers=0, condemned=taken.condemned)


def _granted(fence: Fence, job: Job, instruction: Instruction, *, helpers: int, condemned: bool) -> Granted:
    return Granted(
        fence=fence,
        attempt=job.attempt,
        lease=LEASE_SECONDS,
        renew_every=RENEW_EVERY_SECONDS,
        stop_after=STOP_AFTER_SECONDS,
        instruction=instruction,
        helpers=helpers,
        condemned=condemned,
    )


def _instruction(uow: UnitOfWork, job: Job) -> Instruction:
    if job.kind is JobKind.BACKUP:
        return _backup(uow, job)
    if job.kind is JobKind.COLLECT:
        return _collect(uow, job)
    point = _point_ref(uow.points.get(job.point_id))
    if job.kind is JobKind.RESTORE:
        return RestoreInstruction(
            point=point,
            target=job.target or "",
            paths=job.paths,
            conflict=job.conflict or ConflictRule.SKIP,
            source=uow.items.get(job.item_id, removed=True).source,
            options=dict(job.options),
        )
    return VerifyInstruction(point=point, full=bool(job.full))


def _backup(uow: UnitOfWork, job: Job) -> BackupInstruction:
    """Return what a lead is told. An expiring point is nobody's reference."""
    wanted = job.requested_type or BackupType.INCREMENTAL
    reference = None
    if wanted is not BackupType.FULL:
        reference = uow.points.last(job.item_id, full_only=wanted is BackupType.DIFFERENTIAL)
    found = None if reference is None else reference.id
    return _backup_of(uow, job, type=BackupType.FULL if found is None else wanted, reference=found)


def _backup_of(uow: UnitOfWork, job: Job, *, type: BackupType, reference: str | None) -> BackupInstruction:
    item = uow.items.get(job.item_id, removed=True)
    machine, vault = uow.machines.get(job.machine_id), uow.vaults.get(job.vault_id)
    return BackupInstruction(
        point_id=job.point_id,
        machine=MachineRef(id=machine.id, name=machine.name, key_slots=machine.key_slots),
        item=ItemRef(id=item.id, name=item.name),
        vault=_vault_ref(vault),
        source=item.source,
        type=type,
        reference=reference,
        policy_version=job.policy_version,
    )


def _collect(uow: UnitOfWork, job: Job) -> CollectInstruction:
    machines = tuple(
        CollectedMachine(machine=MachineRef(id=one.id, name=one.name, key_slots=one.key_slots), busy=one.busy)
        for one in uow.collecting.machines(job.vault_id)
    )
    return CollectInstruction(vault=_vault_ref(uow.vaults.get(job.vault_id)), machines=machines, again=job.hurried)


def _point_ref(point: RecoveryPoint) -> PointRef:
    return PointRef(
        point_id=point.id,
        machine=MachineRef(id=point.machine.id, name=point.machine.name, key_slots=point.machine_key_slots),
        item=ItemRef(id=point.item.id, name=point.item.name),
        vault=VaultRef(id=point.vault.id, name=point.vault.name, url=point.vault_url, bandwidth=point.vault_bandwidth),
    )


def _vault_ref(vault: Vault) -> VaultRef:
    return VaultRef(id=vault.id, name=vault.name, url=vault.url, bandwidth=vault.bandwidth)
