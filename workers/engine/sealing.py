"""The end of a backup: from what was counted to a sealed point and its outcome.

Rule of the file: nothing is read from the source's files here, and nothing is sealed without the tower's leave.
"""

from __future__ import annotations

import os

import msgspec

from shared.clock import Clock
from shared.contracts.sources import workload_of
from shared.contracts.work import BackupDone, BackupInstruction, Fence, SealedPoint
from shared.decoders import converted
from shared.errors import SkyharborError
from shared.model.backup import BackupStats, BackupType, Notice
from shared.vault.point import MOMENTS_FROM, MOMENTS_UNTIL, PointBody, Sealed
from shared.vault.writer import PointWriter
from workers.engine.notices import Notices, shown
from workers.engine.part import BLOCK
from workers.engine.ports import Control, Session, Source
from workers.engine.tally import Change, Tally


class Sealing:
    """Seals the point of one attempt. ``compared`` says whether a reference was used; made when the attempt begins.

    ``source`` is None for a stream, which knows no owners by name.
    """

    def __init__(
        self,
        session: Session,
        source: Source | None,
        instruction: BackupInstruction,
        fence: Fence,
        *,
        control: Control,
        clock: Clock,
        notices: Notices,
        compared: bool,
    ) -> None:
        self._session = session
        self._source = source
        self._instruction = instruction
        self._fence = fence
        self._control = control
        self._clock = clock
        self._notices = notices
        self._compared = compared
        self._started_at = _timestamp(clock)

    def seal(self, writer: PointWriter, tally: Tally, problem: str | None) -> BackupDone:
        """Seal what the writer has; ``problem`` says why the reference could not be read to its end."""
        instruction = self._instruction
        if problem is not None and instruction.reference is not None:
            self._notices.add(unusable(instruction.reference, problem))
        for notice in self._session.notices():
            self._notices.add(notice)
        self._must_not_be_blind()
        sealed = writer.seal(body=self._body(tally), validate=self._may_seal)
        self._session.sealed()
        return outcome(instruction.point_id, sealed)

    def _may_seal(self) -> None:
        self._session.confirm()
        self._control.check()
        self._control.commit()

    def _must_not_be_blind(self) -> None:
        """A point in which not one of the protected paths could be read would only push good ones out."""
        roots = {shown(os.fsencode(path).strip(b"/")) for path in self._session.paths}
        blind = [notice for notice in self._notices.listed() if notice.code == "unreadable" and notice.path in roots]
        if roots and len({notice.path for notice in blind}) == len(roots):
            raise SkyharborError("source-failed", f"{blind[0].path}: {blind[0].message}")

    def _body(self, tally: Tally) -> PointBody:
        instruction = self._instruction
        users, groups = self._source.names_of_owners(tally.uids, tally.gids) if self._source else ({}, {})
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
            excluded=tally.excluded,
            warnings=self._notices.count,
        )
        return PointBody(
            machine_name=instruction.machine.name,
            item_name=instruction.item.name,
            paths=self._session.paths,
            type=instruction.type if self._compared else BackupType.FULL,
            reference=instruction.reference if self._compared else None,
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
            workload=workload_of(instruction.source),
            state={**self._session.state, **self._blocks()},
        )

    def _blocks(self) -> dict[str, str]:
        return {BLOCK: str(self._source.block)} if self._source is not None and self._source.block else {}


def unusable(reference: str, problem: str) -> Notice:
    """Return the notice about a point to compare with that cannot be read."""
    return Notice("", "reference-unusable", f"the point to compare with, {reference}, could not be read: {problem}")


def outcome(point_id: str, sealed: Sealed) -> BackupDone:
    """Return what is told of a sealed point."""
    body = sealed.body
    stats = converted(body.stats, BackupStats)
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
            moments_from=body.state.get(MOMENTS_FROM),
            moments_until=body.state.get(MOMENTS_UNTIL),
        ),
        warnings=body.notices,
    )


def _timestamp(clock: Clock) -> str:
    return clock.now().isoformat().replace("+00:00", "Z")
