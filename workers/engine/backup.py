"""Makes one recovery point: compare, read, seal.

What happens when it dies: before the manifest is written there is no point, and what was uploaded is found again by
the next attempt (checkpoints index it every few minutes). After the manifest is written the next attempt finds the
point of this id sealed and reports it without touching the source, so a job seals one point at most.

Rule of the file: the sequence of a backup and its outcome; the flow of entries is ``flow``'s.
"""

from __future__ import annotations

import contextlib
import hashlib

from shared.clock import Clock
from shared.contracts.work import BackupDone, BackupInstruction, Fence
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName, point_name
from shared.vault.point import Sealed
from shared.vault.reader import PointReader
from shared.vault.vault import Vault
from workers.engine.disk_lead import DiskLead
from workers.engine.doors import Doors
from workers.engine.healing import complete_index, restore_header, tell_lost
from workers.engine.keeping import ScanAll, Selective
from workers.engine.lead import Lead
from workers.engine.notices import Notices
from workers.engine.part import BackupOptions, Bench, Gear, Muster, PartRun
from workers.engine.ports import Control, Formation, Session, Source, StreamSource
from workers.engine.sealing import Sealing, outcome, unusable
from workers.engine.shard import open_reference
from workers.engine.stream_run import StreamRun, missing_of

__all__ = ["BackupOptions", "Muster", "run_backup"]


def run_backup(
    *,
    doors: Doors,
    vault: Vault,
    keys: DomainKeys,
    index: ChunkIndex,
    instruction: BackupInstruction,
    fence: Fence,
    control: Control,
    clock: Clock,
    options: BackupOptions = BackupOptions(),
    muster: Muster | None = None,
    formation: Formation | None = None,
) -> BackupDone:
    """Make the recovery point that the instruction describes and return what was done.

    Called again for the same point after it was sealed, it returns that point's outcome and reads nothing. A
    reference that is missing or damaged is not used: the backup becomes a full one and says so. Packs that the store
    has lost, or that a verify has marked as damaged, are not used either: files that were in them are read again,
    whatever the type, and that is said while the last point still names such a pack. ``muster`` brings a crew for the
    point's writer; without one, threads of this process read. A large backup is shared with the ``formation``, when
    there is one.
    Raises ``Stop`` when the control says so and ``source-missing``, ``source-failed``, ``stale-claim`` and the store's
    errors; nothing is sealed then, and the source is let go of as if nothing had been.
    """
    done = _sealed_before(vault, keys, index, instruction)
    if done is not None:
        return done
    notices = Notices()
    restore_header(vault, instruction, notices)
    # Before anything is compared: what the store has lost counts as unknown, so it is read and stored again.
    lost = index.drop_missing_packs(vault)
    reference = open_reference(vault, keys, index, instruction, notices)
    if reference is not None:
        complete_index(index, vault, keys, reference)
    if lost:
        tell_lost(frozenset(lost), vault, keys, instruction, reference, notices)
    session, reference = _open(doors, reference, index, notices)
    with contextlib.closing(session):
        flight = _Flight(
            session, instruction, fence, reference=reference, control=control, clock=clock, notices=notices
        )
        reading = session.reading
        if not isinstance(reading, bytes):
            bench = Bench(vault=vault, keys=keys, index=index, clock=clock, options=options)
            return flight.of_stream(reading, bench)
        with contextlib.closing(doors.open_source(reading)) as source:
            gear = Gear(
                source=source,
                reading=reading,
                vault=vault,
                keys=keys,
                index=index,
                clock=clock,
                options=options,
                muster=muster,
            )
            return flight.of_tree(gear, formation)


def _open(
    doors: Doors, reference: PointReader | None, index: ChunkIndex, notices: Notices
) -> tuple[Session, PointReader | None]:
    """Open the session, and return the point that is compared with after all."""
    if reference is None:
        return doors.open_session(None), None
    session = doors.open_session(reference.body)
    missing = None if isinstance(session.reading, bytes) else missing_of(reference, index)
    if missing is None:
        return session, reference
    session.close()
    notices.add(unusable(reference.point.point_id, missing))
    return doors.open_session(None), None


class _Flight:
    """One attempt, from the session's beginning to the sealed point."""

    def __init__(
        self,
        session: Session,
        instruction: BackupInstruction,
        fence: Fence,
        *,
        reference: PointReader | None,
        control: Control,
        clock: Clock,
        notices: Notices,
    ) -> None:
        self._session = session
        self._instruction = instruction
        self._fence = fence
        self._reference = reference
        self._control = control
        self._clock = clock
        self._notices = notices

    def of_tree(self, gear: Gear, formation: Formation | None) -> BackupDone:
        """Read the source in whatever order is best, by many."""
        sealing = self._sealing(gear.source)
        selective = isinstance(gear.source, Selective) and gear.source.selective
        if formation is not None and formation.helpers and not selective:
            lead = (DiskLead if gear.source.block else Lead)(
                gear,
                self._instruction,
                self._fence,
                reader=self._reference,
                control=self._control,
                formation=formation,
            )
            if lead.shares:
                return lead.fly(sealing, self._notices)
        try:
            return self._alone(gear, sealing, keep=selective)
        except ScanAll as reason:
            self._notices.add(Notice("", "everything-scanned", str(reason)))
            return self._alone(gear, sealing, keep=False)

    def _alone(self, gear: Gear, sealing: Sealing, *, keep: bool) -> BackupDone:
        """Read everything, in order; raises ``ScanAll`` with ``keep`` only, and then as if nothing had been read."""
        said = Notices()
        run = PartRun(gear, self._instruction, reader=self._reference, control=self._control, notices=said, keep=keep)
        try:
            run.read(last_phase="sealing")
            self._notices.take(said.listed(), besides=said.count - len(said.listed()))
            return sealing.seal(run.writer, run.tally, run.problem.detail if run.problem else None)
        except BaseException:
            run.stop()
            raise
        finally:
            run.close()

    def of_stream(self, source: StreamSource, bench: Bench) -> BackupDone:
        """Take what the source sends, as it comes."""
        sealing = self._sealing(None)
        run = StreamRun(bench, self._instruction, reader=self._reference, control=self._control, notices=self._notices)
        try:
            run.read(source)
            return sealing.seal(run.writer, run.tally, None)
        except BaseException:
            run.stop()
            raise
        finally:
            run.close()

    def _sealing(self, source: Source | None) -> Sealing:
        return Sealing(
            self._session,
            source,
            self._instruction,
            self._fence,
            control=self._control,
            clock=self._clock,
            notices=self._notices,
            compared=self._reference is not None,
        )


def _sealed_before(
    vault: Vault, keys: DomainKeys, index: ChunkIndex, instruction: BackupInstruction
) -> BackupDone | None:
    """Return the outcome of an attempt that sealed the point and died before it could tell."""
    name = PointName(instruction.machine.id, instruction.item.id, instruction.point_id)
    if vault.is_fenced(name):
        raise SkyharborError("point-fenced", f"{point_name(name)}: nothing that is put there will ever be a point")
    if not vault.has_point(name):
        return None
    reader = PointReader.open(
        vault, keys, machine_id=name.machine_id, item_id=name.item_id, point_id=name.point_id, index=index
    )
    manifest = point_name(name)
    data = vault.store.get(manifest)
    digest = hashlib.sha256(data).hexdigest()
    sealed = Sealed(created=False, manifest=manifest, manifest_sha256=digest, manifest_size=len(data), body=reader.body)
    return outcome(instruction.point_id, sealed)
