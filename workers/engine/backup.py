"""Makes one recovery point: compare, read, seal.

What happens when it dies: before the manifest is written there is no point, and what was uploaded is found again by
the next attempt (checkpoints index it every few minutes). After the manifest is written the next attempt finds the
point of this id sealed and reports it without touching the source, so a job seals one point at most.

Rule of the file: the sequence of a backup and its outcome; the flow of entries is ``flow``'s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

import msgspec

from shared.clock import Clock
from shared.contracts.work import BackupDone, BackupInstruction, Fence, SealedPoint
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import BackupStats, BackupType, Notice
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName, point_name
from shared.vault.point import PointBody, Sealed
from shared.vault.reader import PointReader
from shared.vault.vault import Vault
from shared.vault.writer import PointWriter
from workers.engine.crew import ReadingCrew, ReadingThreads
from workers.engine.flow import Flow
from workers.engine.healing import UNUSABLE, complete_index, restore_header, tell_lost
from workers.engine.notices import Notices, shown
from workers.engine.ports import Control, Source
from workers.engine.pulse import Pulse
from workers.engine.reading import FileReading
from workers.engine.reference import Reference
from workers.engine.tally import Change, Tally

Muster = Callable[[PointWriter], ReadingCrew]
"""Brings a crew that reads for a point's writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """How a backup uses the machine; nothing here changes what is in the point."""

    readers: int = 2
    """Threads of the crew that is used when the caller brings none."""
    checkpoint_every: float = 180.0  # seconds


def run_backup(
    *,
    source: Source,
    vault: Vault,
    keys: DomainKeys,
    index: ChunkIndex,
    instruction: BackupInstruction,
    fence: Fence,
    control: Control,
    clock: Clock,
    options: BackupOptions = BackupOptions(),
    muster: Muster | None = None,
) -> BackupDone:
    """Make the recovery point that the instruction describes and return what was done.

    Called again for the same point after it was sealed, it returns that point's outcome and reads nothing. A
    reference that is missing or damaged is not used: the backup becomes a full one and says so. Packs that the store
    has lost, or that a verify has marked as damaged, are not used either: files that were in them are read again,
    whatever the type, and that is said while the last point still names such a pack. ``muster`` brings a crew for the
    point's writer; without one, threads of this process read.
    Raises ``Stop`` when the control says so and ``source-missing``, ``source-failed``, ``stale-claim`` and the store's
    errors; nothing is sealed then.
    """
    done = _sealed_before(vault, keys, index, instruction)
    if done is not None:
        return done
    notices = Notices()
    restore_header(vault, instruction, notices)
    # Before anything is compared: what the store has lost counts as unknown, so it is read and stored again.
    lost = index.drop_missing_packs(vault)
    reference = _open_reference(vault, keys, index, instruction, notices)
    if reference is not None:
        complete_index(index, vault, keys, reference, lost)
    if lost:
        tell_lost(frozenset(lost), vault, keys, instruction, reference, notices)
    run = _Run(source, vault, keys, index, instruction, fence, control, clock, notices, reference)
    return run.fly(muster or run.threads(options.readers), options)


def _sealed_before(
    vault: Vault, keys: DomainKeys, index: ChunkIndex, instruction: BackupInstruction
) -> BackupDone | None:
    """Return the outcome of an attempt that sealed the point and died before it could tell."""
    name = PointName(instruction.machine.id, instruction.item.id, instruction.point_id)
    if not vault.has_point(name):
        return None
    reader = PointReader.open(
        vault, keys, machine_id=name.machine_id, item_id=name.item_id, point_id=name.point_id, index=index
    )
    manifest = point_name(name)
    data = vault.store.get(manifest)
    digest = hashlib.sha256(data).hexdigest()
    sealed = Sealed(created=False, manifest=manifest, manifest_sha256=digest, manifest_size=len(data), body=reader.body)
    return _outcome(instruction.point_id, sealed)


def _open_reference(
    vault: Vault, keys: DomainKeys, index: ChunkIndex, instruction: BackupInstruction, notices: Notices
) -> PointReader | None:
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
        notices.add(_unusable(instruction.reference, error))
        return None


def _unusable(reference: str, error: SkyharborError) -> Notice:
    return Notice(
        "", "reference-unusable", f"the point to compare with, {reference}, could not be read: {error.detail}"
    )


class _Run:
    """One attempt: holds what its steps share."""

    def __init__(
        self,
        source: Source,
        vault: Vault,
        keys: DomainKeys,
        index: ChunkIndex,
        instruction: BackupInstruction,
        fence: Fence,
        control: Control,
        clock: Clock,
        notices: Notices,
        reference: PointReader | None,
    ) -> None:
        self._source = source
        self._vault = vault
        self._keys = keys
        self._index = index
        self._instruction = instruction
        self._fence = fence
        self._control = control
        self._clock = clock
        self._notices = notices
        self._reader = reference
        self._started_at = _timestamp(clock)
        self._writer = PointWriter(
            vault,
            keys,
            index,
            machine_id=instruction.machine.id,
            item_id=instruction.item.id,
            point_id=instruction.point_id,
            zstd_level=instruction.zstd_level,
            slots=instruction.machine.key_slots,
        )

    def threads(self, count: int) -> Muster:
        """Return what makes a crew of threads of this process."""
        return lambda writer: ReadingThreads(FileReading(self._source, self._keys, writer, self._clock), count=count)

    def fly(self, muster: Muster, options: BackupOptions) -> BackupDone:
        """Read, seal, tell."""
        reader = self._reader
        self._reference = Reference(reader.columns() if reader else iter(()))
        self._crew = muster(self._writer)
        pulse = Pulse(
            control=self._control,
            clock=self._clock,
            writer=self._writer,
            secure=self._secure,
            expected=(reader.body.files, reader.body.bytes) if reader else (0, 0),
            checkpoint_every=options.checkpoint_every,
        )
        try:
            flow = Flow(
                source=self._source,
                crew=self._crew,
                writer=self._writer,
                index=self._index,
                reference=self._reference,
                pulse=pulse,
                notices=self._notices,
            )
            flow.run(self._source.scan())
            pulse.beat(flow.tally, "sealing")
            self._await_crew()
            return self._seal(flow.tally)
        except BaseException:
            self._crew.stop()
            self._writer.abort()
            raise
        finally:
            self._crew.close()

    def _secure(self) -> None:
        self._await_crew()
        self._writer.checkpoint()

    def _await_crew(self) -> None:
        """Wait until what the crew has read is durable."""
        waiting = set(self._crew.flush())
        while waiting:
            done, waiting = wait_for(waiting, timeout=Pulse.PATIENCE, return_when=FIRST_COMPLETED)
            self._control.check()
            for future in done:
                future.result()

    def _seal(self, tally: Tally) -> BackupDone:
        instruction = self._instruction
        if self._reference.problem is not None and instruction.reference is not None:
            self._notices.add(_unusable(instruction.reference, self._reference.problem))
        self._must_not_be_blind()
        sealed = self._writer.seal(body=self._body(tally), validate=self._may_seal)
        return _outcome(instruction.point_id, sealed)

    def _may_seal(self) -> None:
        self._control.check()
        self._control.commit()

    def _must_not_be_blind(self) -> None:
        """A point in which not one of the protected paths could be read would only push good ones out."""
        roots = {shown(os.fsencode(path).strip(b"/")) for path in self._instruction.source.paths}
        blind = [notice for notice in self._notices.listed() if notice.code == "unreadable" and notice.path in roots]
        if len({notice.path for notice in blind}) == len(roots):
            raise SkyharborError("source-failed", f"{blind[0].path}: {blind[0].message}")

    def _body(self, tally: Tally) -> PointBody:
        instruction = self._instruction
        users, groups = self._source.names_of_owners(tally.uids, tally.gids)
        # What went to the vault is filled in by the writer, which knows.
        stats = BackupStats(
            files=tally.files,
            directories=tally.directories,
            files_new=tally.of(Change.NEW),
            files_changed=tally.of(Change.CHANGED),
            files_unchanged=tally.of(Change.UNCHANGED),
            files_removed=tally.removed,
            bytes_scanned=tally.bytes,
            bytes_read=tally.bytes_read,
            excluded=self._source.excluded,
            warnings=self._notices.count,
        )
        return PointBody(
            machine_name=instruction.machine.name,
            item_name=instruction.item.name,
            paths=instruction.source.paths,
            type=instruction.type if self._reader else BackupType.FULL,
            reference=instruction.reference if self._reader else None,
            job_id=self._fence.job_id,
            epoch=self._fence.epoch,
            claim_id=self._fence.claim_id,
            started_at=self._started_at,
            sealed_at=_timestamp(self._clock),
            files=tally.files,
            bytes=tally.bytes,
            stats=msgspec.structs.asdict(stats),
            notices=self._notices.listed(),
            policy_version=instruction.policy_version,
            users=users,
            groups=groups,
        )


def _outcome(point_id: str, sealed: Sealed) -> BackupDone:
    body = sealed.body
    stats = msgspec.convert(body.stats, BackupStats)
    # A manifest cannot count itself; the outcome can.
    stats.bytes_transferred += sealed.manifest_size
    stats.bytes_stored += sealed.manifest_size
    return BackupDone(
        stats=stats,
        point=SealedPoint(
            point_id=point_id,
            manifest=sealed.manifest,
            manifest_sha256=sealed.manifest_sha256,
            type=body.type,
            reference=body.reference,
            sealed_at=body.sealed_at,
            files=body.files,
            bytes=body.bytes,
        ),
        warnings=body.notices,
    )


def _timestamp(clock: Clock) -> str:
    return clock.now().isoformat().replace("+00:00", "Z")
