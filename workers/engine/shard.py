"""A part of a backup in shards, whoever flies it: the lead, or a worker that helps.

Rule of the file: a part ends stored and indexed, so that whatever becomes of the attempt, the next one finds it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.contracts.work import BackupInstruction, Fence, ShardInstruction
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from shared.vault.vault import Vault
from workers.engine.healing import UNUSABLE, complete_index
from workers.engine.links import LinkLog
from workers.engine.notices import Notices
from workers.engine.part import Gear, PartRun
from workers.engine.ports import Control
from workers.engine.sealing import unusable
from workers.engine.shard_messages import PartReport, ShardOrder, open_order, seal_report
from workers.engine.span import Span
from workers.engine.stretch import Stretch
from workers.engine.stretch_run import StretchRun


def shard_order(instruction: ShardInstruction, fence: Fence, keys: DomainKeys) -> ShardOrder:
    """Return what a shard is about: the lead's word, but for the vault, which the tower knows best."""
    order = open_order(instruction.payload, keys=keys, fence=fence)
    backup = msgspec.structs.replace(order.backup, vault=instruction.backup.vault)
    return msgspec.structs.replace(order, backup=backup)


def run_shard(gear: Gear, order: ShardOrder, fence: Fence, *, control: Control) -> bytes:
    """Fly a shard for another worker's backup and return its report, sealed for that one.

    Raises what ``run_backup`` raises; what was stored by then is found again by the next attempt.
    """
    gear.index.drop_missing_packs(gear.vault)
    notices = Notices()
    reader = open_reference(gear.vault, gear.keys, gear.index, order.backup, notices)
    if reader is not None:
        complete_index(gear.index, gear.vault, gear.keys, reader)
    if order.stretches:
        report = fly_stretches(gear, order.backup, order.stretches, control=control)
        return seal_report(report, keys=gear.keys, fence=fence)
    report = fly_part(gear, order.backup, order.span, reader=reader, control=control, notices=notices)
    return seal_report(report, keys=gear.keys, fence=fence)


def fly_part(
    gear: Gear,
    instruction: BackupInstruction,
    span: Span,
    *,
    reader: PointReader | None,
    control: Control,
    notices: Notices,
) -> PartReport:
    """Read a part, and return what became of it once all of it is durable and indexed."""
    links = LinkLog()
    run = PartRun(gear, instruction, reader=reader, control=control, notices=notices, span=span, links=links)
    try:
        run.read()
        part = run.writer.finish_part()
    except BaseException:
        run.stop()
        raise
    finally:
        run.close()
    return PartReport(
        part=part,
        counts=run.tally.counts(),
        notices=notices.listed(),
        notice_count=notices.count,
        links=links.incomplete(),
        problem=run.problem.detail if run.problem else None,
    )


def fly_stretches(
    gear: Gear, instruction: BackupInstruction, stretches: Sequence[Stretch], *, control: Control, expected: int = 0
) -> PartReport:
    """Read stretches of files, and return what became of them once all of it is durable and indexed.

    ``expected`` is how many bytes the whole backup has to read, for the first part to say.
    """
    run = StretchRun(gear, instruction, control=control, expected=expected)
    try:
        part = run.fly(stretches)
    except BaseException:
        run.stop()
        raise
    finally:
        run.close()
    return PartReport(part=part, counts=run.tally.counts())


def open_reference(
    vault: Vault, keys: DomainKeys, index: ChunkIndex, instruction: BackupInstruction, notices: Notices
) -> PointReader | None:
    """Return the point to compare with; None, with a notice, when there is one and it cannot be read."""
    if instruction.reference is None or instruction.type is BackupType.FULL:
        return None
    try:
        return PointReader.open(
            vault,
            keys,
            machine_id=instruction.machine.id,
            item_id=instruction.item.id,
            point_id=instruction.reference,
            index=index,
        )
    except SkyharborError as error:
        if error.code not in UNUSABLE:
            raise
        notices.add(unusable(instruction.reference, error.detail))
        return None
